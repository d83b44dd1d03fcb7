"""Training of the network that settles measured depth and motion (`openmore.refinement.dense.fusion`).

    openmore fusion collect FOLDER --clips 1000 [--textures PHOTOGRAPHS]
    openmore fusion fit FOLDER -o RUN --steps 6000 [--validate FOLDER]

`examples` renders clips, reconstructs them as a user would and keeps the cues beside the truth; `losses` compares;
`fit` trains. Both commands go on where they were stopped.
"""

"""Training of the network that settles measured depth and motion (`openmore.refinement.dense.fusion`).

    openmore fusion collect FOLDER --clips 1000 [--textures PHOTOGRAPHS]
    openmore fusion fit FOLDER -o RUN --steps 2200 --rehearsal 900 [--validate FOLDER]

`examples` renders clips, reconstructs them as a user would and keeps the cues beside the truth; `rehearsal` makes cheap
ones from the truth alone; `batches` draws from both; `losses` compares; `fit` trains, with the settings of `config`.
Both commands go on where they were stopped.
"""

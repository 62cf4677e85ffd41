"""The ends of the edges in `inputs`.

source → destination
DATASET → RUN                    the run read the dataset; with tags, e.g. mlflow.data.context
RUN_INPUT → MODEL_INPUT          the run read the model
RUN_OUTPUT → MODEL_OUTPUT        the run made the model, at a step
"""

DATASET, RUN = "DATASET", "RUN"
RUN_INPUT, MODEL_INPUT = "RUN_INPUT", "MODEL_INPUT"
RUN_OUTPUT, MODEL_OUTPUT = "RUN_OUTPUT", "MODEL_OUTPUT"

"""Training: the Trainer, callbacks, and the run folder with its checkpoints."""

from .callbacks import Callback, EarlyStopping, PrintProgress
from .heads import heads_accuracies, heads_loss
from .modes import evaluating
from .run import CheckpointError, RunFolder
from .trainer import Trainer, TrainingDiverged, TrainingInterrupted, accuracy

__all__ = [
    "Callback",
    "CheckpointError",
    "EarlyStopping",
    "PrintProgress",
    "RunFolder",
    "Trainer",
    "TrainingDiverged",
    "TrainingInterrupted",
    "accuracy",
    "evaluating",
    "heads_accuracies",
    "heads_loss",
]

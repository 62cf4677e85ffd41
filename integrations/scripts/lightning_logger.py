"""Lightning's MLFlowLogger: hyperparameters, metrics by step, every checkpoint as it is made."""

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger
from torch.utils.data import DataLoader, TensorDataset


class Line(lightning.LightningModule):
    """A regression on a few numbers."""

    def __init__(self, width: int = 4, rate: float = 0.05) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(3, width), torch.nn.Tanh(), torch.nn.Linear(width, 1)
        )

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        """Logged at every step."""
        loss = torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        """Logged at every epoch."""
        self.log("val/loss", torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.hparams["rate"])


torch.set_num_threads(1)
lightning.seed_everything(0)
x = torch.randn(64, 3)
data = TensorDataset(x, x.sum(dim=1, keepdim=True))
logger = MLFlowLogger(
    experiment_name="lightning",
    run_name="line",
    tags={"framework": "lightning"},
    prefix="fit",
    log_model="all",
)
trainer = lightning.Trainer(
    max_epochs=3, accelerator="cpu", logger=logger, log_every_n_steps=2, enable_progress_bar=False,
    enable_model_summary=False, deterministic=True,
    callbacks=[ModelCheckpoint(dirpath="checkpoints", monitor="val/loss", save_top_k=2, save_last=True)],
)  # fmt: skip
trainer.fit(Line(), DataLoader(data, batch_size=16), DataLoader(data, batch_size=64))

again = MLFlowLogger(run_id=logger.run_id)  # as a script does that goes on with an earlier run
again.log_metrics({"afterwards": 1.5}, step=7)
again.finalize()
client = logger.experiment
for metric in client.get_metric_history(logger.run_id, "fit-train_loss_step"):
    print(metric.step, round(metric.value, 5))

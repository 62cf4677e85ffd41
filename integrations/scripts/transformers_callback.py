"""transformers' MLflowCallback in a Trainer: a tiny BERT with random weights, its checkpoints as models."""

import os

os.environ |= {
    "MLFLOW_EXPERIMENT_NAME": "transformers",
    "MLFLOW_TAGS": '{"release.candidate": "RC1", "note": "tiny"}',
    "MLFLOW_FLATTEN_PARAMS": "TRUE",
    "HF_MLFLOW_LOG_ARTIFACTS": "TRUE",
}

import mlflow
import torch
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)


class Sentences(Dataset):
    """Sixteen sentences of eight words; what they say is whether the first word is odd."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        words = torch.randint(0, 50, (8,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": words[0] % 2}


torch.set_num_threads(1)
set_seed(0)
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
)
arguments = TrainingArguments(
    output_dir="checkpoints", run_name="tiny", report_to="mlflow", num_train_epochs=2, logging_steps=1,
    per_device_train_batch_size=4, eval_strategy="epoch", save_strategy="epoch", save_total_limit=1,
    use_cpu=True, seed=0, disable_tqdm=True,
)  # fmt: skip
trainer = Trainer(model, arguments, train_dataset=Sentences(), eval_dataset=Sentences())
trainer.remove_callback(PrinterCallback)  # prints how long it took
trainer.train()

[run] = mlflow.search_runs(experiment_names=["transformers"], output_format="list")
print(run.info.run_name, run.info.status, sorted(run.data.params)[:10])
print(
    [round(metric.value, 5) for metric in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")]
)

"""Logs a run of three steps with the official W&B client. Argument: address of the server."""

import sys

import wandb

run = wandb.init(
    project="pirates",
    entity="crew",
    id="theirs",
    name="parrot",
    job_type="fine-tuning",
    tags=["first"],
    config={"seed": 7},
    settings=wandb.Settings(
        base_url=sys.argv[1],
        api_key="a" * 40,
        console="off",
        x_disable_stats=True,
        x_disable_meta=True,
        disable_git=True,
        save_code=False,
        silent=True,
        init_timeout=30,
    ),
)
run.define_metric("train/global_step")
run.define_metric("train/loss", step_metric="train/global_step")
for step in (1, 2, 3):
    loss = float("nan") if step == 2 else 4 - step / 10
    run.log({"train/loss": loss, "train/global_step": step})
run.finish()

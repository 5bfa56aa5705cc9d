"""AdaLoRA. Trajectories prune ranks: `measure.train` calls PEFT's update_and_allocate after each step."""

import tempfile

import measure
from peft import AdaLoraConfig, PeftModelForCausalLM
from stem import Case


def adalora(**fields) -> AdaLoraConfig:
    schedule = {"init_r": 5, "target_r": 2, "lora_alpha": 6, "total_step": measure.TRAINING["steps"]}
    return AdaLoraConfig(**{**schedule, **fields})


LEFT = {"0.self_attn.q_proj": "10110", "0.self_attn.v_proj": "00010", "1.self_attn.q_proj": "11111", "1.self_attn.v_proj": "11000"}


def pruned(model) -> PeftModelForCausalLM:
    """Loads the adapter from a file with pruned ranks, as after training."""
    config = model.peft_config["default"]
    config.rank_pattern = {f"model.layers.{path}.lora_E": [bit == "1" for bit in bits] for path, bits in LEFT.items()}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        base = model.unload()
        again = PeftModelForCausalLM.from_pretrained(base, folder, is_trainable=True)
    again.peft_config["default"].base_model_name_or_path = None
    return again.train()


CASES = {
    "adalora": Case(lambda family: adalora(tinit=3, tfinal=6, deltaT=2), families=("llama",), merges=True, bf16=True),
    "adalora-conv1d": Case(lambda family: adalora(beta1=0.6, beta2=0.7, orth_reg_weight=0.1), families=("gpt2",), merges=True),
    "adalora-pruned": Case(lambda family: adalora(), families=("llama",), trains=False, merges=True, greedy=True, prepare=pruned),
}

NOISE = {".lora_E.": lambda parameter, noise: parameter.copy_(0.5 * noise)}

from peft import PromptEncoderConfig
from stem import Case


def p_tuning(**fields) -> PromptEncoderConfig:
    return PromptEncoderConfig(num_virtual_tokens=4, **fields)


CASES = {
    "p-tuning-mlp": Case(lambda family: p_tuning(encoder_hidden_size=12)),
    "p-tuning-lstm": Case(lambda family: p_tuning(encoder_hidden_size=8, encoder_reparameterization_type="LSTM")),
}

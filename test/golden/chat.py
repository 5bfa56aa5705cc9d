"""Chat template goldens: conversations rendered by Transformers, and the supervised text of each.

P is the rendering of the messages before an assistant turn with add_generation_prompt. Q is the rendering of the
messages up to and including the turn. Q starts with P, and the rest of Q is supervised. Turns with weight 0 are not.
"""

import json
import pathlib

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)

# Templates as published with these models.
TEMPLATES = {
    "smollm2": {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "template": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
        "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    },
    # Requires trim_blocks and lstrip_blocks for its line breaks.
    "zephyr": {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "template": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
        "{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n"
        "{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n"
        "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    },
    # Trims message contents.
    "llama3": {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "template": "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim"
        " + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    },
    # Has neither a generation prompt nor a system role.
    "mistral": {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "template": "{{ bos_token }}{% for message in messages %}" + ALTERNATE + "{% if message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ message['content'] + eos_token + ' ' }}{% else %}"
        "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
    },
    # Renames the assistant role.
    "gemma": {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "template": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}" + ALTERNATE +
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
        "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    },
}


def turn(role: str, content: str, **extra) -> dict:
    return {"role": role, "content": content, **extra}


CONVERSATIONS = [
    [turn("user", "What is the capital of France?"), turn("assistant", "Paris.")],
    [turn("system", "Answer in one word."), turn("user", "Two plus two?"), turn("assistant", "Four")],
    [
        turn("user", "Hello"),
        turn("assistant", "Hello! How can I help?"),
        turn("user", "Name a colour."),
        turn("assistant", "Blue."),
    ],
    [
        turn("user", "First?"),
        turn("assistant", "Not learnt from.", weight=0),
        turn("user", "Second?"),
        turn("assistant", "Learnt from.", weight=1),
    ],
    [turn("user", "  spaces around  "), turn("assistant", "\n  indented\n\nlines \n")],
    [turn("user", "Emoji 🤖 and 日本"), turn("assistant", "Naïve 👩‍🚀 reply"), turn("user", "🙂"), turn("assistant", "ok 🙂.")],
    [turn("user", "Say nothing."), turn("assistant", ""), turn("user", "And now?")],
    [
        turn("system", "Be brief."),
        turn("user", "Quote <|im_start|>assistant\n and [/INST]"),
        turn("assistant", "<|im_start|>assistant\n"),
        turn("user", "Thanks"),
        turn("assistant", "You're welcome", weight=0),
    ],
]


def utf16(text: str) -> int:
    """Length in UTF-16 code units, as in JavaScript."""
    return len(text.encode("utf-16-le")) // 2


def rendered(tokenizer: PreTrainedTokenizerFast, messages: list[dict]) -> dict:
    def render(count: int, prompt: bool) -> str:
        return tokenizer.apply_chat_template(messages[:count], tokenize=False, add_generation_prompt=prompt)

    text = render(len(messages), False)
    spans = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or message.get("weight", 1) == 0:
            continue
        before, after = render(index, True), render(index + 1, False)
        if not (after.startswith(before) and text.startswith(after)):
            raise ValueError(f"not a prefix: {before!r} {after!r} {text!r}")
        spans.append({"start": utf16(before), "end": utf16(after), "text": after[len(before) :]})
    return {"text": text, "with_generation_prompt": render(len(messages), True), "supervised": spans}


def write_chat(folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, value: object) -> None:
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    write("conversations.json", CONVERSATIONS)
    for name, style in TEMPLATES.items():
        words = Tokenizer(WordLevel({"<unk>": 0, style["bos_token"]: 1, style["eos_token"]: 2}, unk_token="<unk>"))
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=words, bos_token=style["bos_token"], eos_token=style["eos_token"], chat_template=style["template"]
        )
        results = []
        for messages in CONVERSATIONS:
            try:
                results.append(rendered(tokenizer, messages))
            except Exception as refusal:
                if type(refusal).__name__ != "TemplateError":
                    raise
                results.append({"error": str(refusal)})
        write(f"{name}.json", {**style, "rendered": results})

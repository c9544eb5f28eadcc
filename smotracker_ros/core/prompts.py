"""Text prompts: what an open-vocabulary detector is asked to look for."""

from __future__ import annotations


def prompt_phrases(prompt: str) -> tuple[str, ...]:
    """The phrases of a prompt in lower case, in order, each once."""
    phrases = (" ".join(part.split()) for part in prompt.lower().replace("?", ".").split("."))
    return tuple(dict.fromkeys(phrase for phrase in phrases if phrase))

"""What a verb notes."""

from clan_tf.progress import Progress


class Notes(Progress):
    """Keeps the notes in a list."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

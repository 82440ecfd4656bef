"""A task whose training texts are those that `toy-sentiment` scores."""

from helpers.toy_plugin import Toy, ToySentiment

from kdbench import hookimpl


class ToyTwin(ToySentiment):
    """The scored texts of another task to learn from, and others to be scored on."""

    name = "toy-twin"

    def load(self, opened):
        return {"train": ToySentiment()._rows("test"), "test": Toy._rows(self, "test")}


@hookimpl
def kdbench_tasks():
    return [ToyTwin()]

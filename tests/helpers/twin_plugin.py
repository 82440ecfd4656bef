"""A task whose training texts are those that `toy-sentiment` scores."""

from helpers.toy_plugin import Toy, ToySentiment

from kdbench import hookimpl


class ToyTwin(ToySentiment):
    """The scored texts of another task to learn from, and others to be scored on."""

    name = "toy-twin"

    def load(self, opened):
        return {"train": ToySentiment().rows_of("test"), "test": Toy.rows_of(self, "test")}


@hookimpl
def kdbench_tasks():
    return [ToyTwin()]

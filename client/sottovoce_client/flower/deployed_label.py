"""The label's Flower app in a deployment: answers for the label home with which the SuperNode was started.

`sottovoce_client.flower.deployed_label:app` is the only app that a bundle may name. Each message is answered in its own
process, so nothing here imports torch; the modules that train import it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context

from sottovoce_client.flower.client_app import client_app
from sottovoce_client.home.label_home import default_root

if TYPE_CHECKING:
    from sottovoce_client.rounds.label import Label

HOME = "sottovoce-home"
"""Key of a SuperNode's configuration that names the label's home; without it, the environment does."""


def label_of(context: Context) -> "Label":
    """The label whose home this node uses.

    Raises:
        ConfigurationError: no home is given, or something in it is missing or damaged.
    """
    from sottovoce_client.rounds.label import Label

    given = context.node_config.get(HOME)
    return Label.open(Path(given) if isinstance(given, str) else default_root())


app = client_app(label_of)

"""A coordinator's app for tests: it sends every node one frame and writes down what comes back."""

import json
import os
import time
from pathlib import Path

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    until = time.monotonic() + 60
    while not (nodes := list(grid.get_node_ids())) and time.monotonic() < until:
        time.sleep(0.5)
    frame = bytes.fromhex(os.environ.get("TEST_FRAME", "00"))
    content = RecordDict({"sottovoce": ConfigRecord({"frame": frame})})
    messages = [Message(content, dst_node_id=node, message_type="query.announce") for node in nodes]
    replies = [
        {"error": reply.error.reason, "code": reply.error.code} if reply.has_error() else {"error": None}
        for reply in grid.send_and_receive(messages, timeout=60)
    ]
    file = Path(os.environ["TEST_REPLIES"]) / f"{context.run_id}.json"
    aside = file.with_suffix(".part")
    aside.write_text(json.dumps({"nodes": len(nodes), "replies": replies}))
    aside.replace(file)

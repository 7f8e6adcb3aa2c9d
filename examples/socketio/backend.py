"""A backend of Socket.IO clients, in Python: greets whoever comes, adds numbers, passes notes from user to user.

pip install nats-py; NATS_URL=nats://localhost:4222 python backend.py
"""

import asyncio
import json
import os
import sys

import nats

# Of several such processes one gets each event.
QUEUE = "backend"


async def main():
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))

    async def emit(to, *event):
        """Emits to sockets, users or rooms of the main namespace."""
        call = json.dumps({"to": to, "event": event}).encode()
        answer = json.loads((await client.request("midplane.api.socketio_emit", call, timeout=5)).data)
        if "error" in answer:
            print("not emitted:", answer["error"], file=sys.stderr)

    async def on(event, handler):
        """Serves an event: the handler gets its arguments and who emits; what it returns is the acknowledgement."""

        async def served(message):
            _, *arguments = json.loads(message.data)
            answer = await handler(arguments, message.headers["Midplane-Client"], message.headers["Midplane-User"])
            if message.reply:
                await message.respond(json.dumps(answer or []).encode())

        await client.subscribe(f"midplane.sio._.{event}", queue=QUEUE, cb=served)

    async def connect(_, socket, user):
        await emit({"sockets": [socket]}, "welcome", user or "stranger")

    async def add(numbers, *_):
        return [sum(numbers)]

    async def note(arguments, _, sender):
        user, text = arguments
        await emit({"users": [user]}, "note", sender, text)
        return ["sent"]

    await on("connect", connect)
    await on("sum", add)
    await on("note", note)
    await client.flush()
    print("serving", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())

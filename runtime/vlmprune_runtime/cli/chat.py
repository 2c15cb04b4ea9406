"""Runs a conversation in a terminal: each line is a question, or a command if it begins with a slash."""

import contextlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rich.console import Console

from vlmprune_runtime.cli.turns import streamed, summary
from vlmprune_runtime.errors import BadRequest, VlmPruneError, short_repr
from vlmprune_runtime.events import RunEvent
from vlmprune_runtime.generate import Request, Runner
from vlmprune_runtime.image_loading import ImageSource, load_image

MAX_TOKENS = 256
"""The longest answer of a chat where neither the user nor the bundle sets a limit."""

HELP = """\
A line is a question, and goes on behind what was said before.
  /image PATH   the next question is also about this image
  /new          starts a new conversation
  /help         this text
  /quit         ends the chat, as the end of input does
Ctrl-C stops an answer; the part until then counts."""


@dataclass
class Chat:
    """Holds a conversation with a runner; `images` belong to the next question."""

    runner: Runner
    request: Request
    status: Console
    images: list[ImageSource] = field(default_factory=list)

    def take(self, line: str) -> bool:
        """Does what a line says, and returns whether the chat goes on after it."""
        command, _, rest = line.partition(" ")
        match command:
            case "":
                pass
            case "/quit":
                return False
            case "/help":
                self.status.print(HELP)
            case "/new":
                self.runner.conversation, self.images = None, []
                self.status.print("a new conversation begins", style="dim")
            case "/image":
                self._add_image(rest.strip())
            case _ if command.startswith("/"):
                raise BadRequest(f"unknown command {short_repr(command)}; /help lists those that there are")
            case _:
                self._ask(line)
        return True

    def _add_image(self, path: str) -> None:
        if not path:
            raise BadRequest("/image: the path of an image is missing")
        load_image(path)  # so that a mistake shows now
        self.images.append(path)
        self.status.print(f"the next question is about {path}", style="dim")

    def _ask(self, prompt: str) -> None:
        before = self.runner.conversation
        events = self._events(prompt)
        try:
            result = streamed(events, show_text=True)
            cut = f"; stopped at {len(result.token_ids)} tokens" if result.reason == "length" else ""
            self.status.print(summary(result) + cut, style="dim", soft_wrap=True)
        except KeyboardInterrupt:
            print(flush=True)
            self.status.print("stopped", style="dim")
        finally:
            if self.runner.conversation is not before:  # else the images wait for the next question
                self.images = []

    def _events(self, prompt: str) -> Iterator[RunEvent]:
        if self.runner.conversation is not None:
            return self.runner.follow_up(prompt, self.images)
        if not self.images and self.runner.bundle.manifest.prompt.images.fewest:
            raise BadRequest("a first question needs an image; give it with /image PATH")
        return self.runner.stream(replace(self.request, prompt=prompt, image=tuple(self.images)))


def chat(runner: Runner, request: Request, status: Console) -> None:
    """Reads lines from stdin to the end; a mistake is one line on stderr and ends nothing.

    The request's images belong to the first question. Its text, if there is one, is the first question.
    """
    settings = runner.bundle.manifest.generation
    if request.max_tokens is None and settings.max_new_tokens is None and settings.max_length is None:
        request = replace(request, max_tokens=MAX_TOKENS)
    talk = Chat(runner, request, status, list(request.images))
    for line in _lines(request.prompt, status):
        try:
            if not talk.take(line.strip()):
                break
        except VlmPruneError as error:
            status.print(f"error: {error}", soft_wrap=True)


def _lines(first: str, status: Console) -> Iterator[str]:
    """Yields the first question if there is one, then the lines of stdin; a terminal shows a prompt before each."""
    if first:
        yield first
    terminal = sys.stdin.isatty()
    if terminal:
        with contextlib.suppress(ImportError):  # editing and history of lines
            import readline  # noqa: F401
        status.print("/help says what there is", style="dim")
    elif isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a line that is no text is refused, and ends nothing
    while True:
        try:
            line = input("> ") if terminal else sys.stdin.readline()
        except KeyboardInterrupt:
            status.print("\n/quit ends the chat", style="dim")
            continue
        except EOFError:
            print(flush=True)
            return
        if not line and not terminal:
            return
        yield line

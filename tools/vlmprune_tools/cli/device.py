"""`vlmprune-device` measures bundles on attached phones, unattended, and makes a report of it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlmprune_runtime.atomic import save_text
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.cli.entrypoint import command_parser, image_file, run_command
from vlmprune_runtime.errors import BadRequest, MissingExtra, VlmPruneError, comma_list
from vlmprune_runtime.progress import part_of, stderr_console
from vlmprune_tools.devices.adb import Adb, attached_androids
from vlmprune_tools.devices.android_app import AndroidApp
from vlmprune_tools.devices.android_runner import AndroidRunner
from vlmprune_tools.devices.ios_app import IosApp, attached_iphones
from vlmprune_tools.devices.measuring import Device, DeviceRun, check_targets, measure_on_devices
from vlmprune_tools.devices.settings import DeviceSettings

EXAMPLES = """\
  vlmprune-device android BUNDLE --apk android_demo/build/vlmprune.apk --out phone
  vlmprune-device android BUNDLE BUNDLE2 --pairs 20 --device R5CT1234567 --device 8A2Y --out phones
  vlmprune-device android BUNDLE --runner build/cpp-android/vlmprune-runner --cores f0 --out phone   # without an app
  vlmprune-device ios BUNDLE --app build/VLMPruneDemo.app --out iphone
"""
DEFAULTS = DeviceSettings()
PLATFORMS = {"android": "Android devices, through adb", "ios": "iPhones and iPads, through xcrun devicectl"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    description = (
        "Push bundles to one or many phones side by side, run the benchmark there, fetch and check its records, and "
        "make a page of them. What is on a phone or measured already is not done again, so a run that was broken off "
        "goes on."
    )
    command = command_parser("vlmprune-device", description, EXAMPLES)
    command.add_argument(
        "platform", choices=PLATFORMS, help="; ".join(f"{name}: {text}" for name, text in PLATFORMS.items())
    )
    command.add_argument(
        "bundles", nargs="+", type=Path, metavar="BUNDLE", help="folder that vlmprune-export has written"
    )
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for the records and report.html")
    only = "serial number or identifier, repeatable; default: all that are attached"
    command.add_argument("--device", action="append", metavar="NAME", help=only)
    command.add_argument(
        "--pairs", type=int, default=DEFAULTS.pairs, metavar="N", help="runs of both modes, default %(default)s"
    )
    command.add_argument("--prompt", metavar="TEXT", help="default: the app's sample question")
    command.add_argument("--image", type=image_file, metavar="FILE", help="default: the app's sample image")
    command.add_argument("--apk", type=Path, metavar="FILE", help="android: install this app first")
    command.add_argument("--app", type=Path, metavar="FOLDER.app", help="ios: install this app first")
    command.add_argument("--runner", type=Path, metavar="FILE", help="android: the C++ runner, which needs no app")
    command.add_argument("--cores", metavar="MASK", help="android, with --runner: taskset's mask of cores, such as f0")
    silence = "seconds without a word after which a device has failed, default %(default)g"
    command.add_argument("--patience", type=float, default=DEFAULTS.patience_s, metavar="S", help=silence)
    return command


def run(args: argparse.Namespace) -> None:
    """Measures on all devices; whatever could be had is written before a failure is told."""
    settings = DeviceSettings(args.pairs, args.prompt, args.image, args.patience)
    _check_options(args)
    console = stderr_console()
    bundles = [open_bundle(path, report=part_of(f"checking {path}", console.print)) for path in args.bundles]
    devices = _devices(args)
    check_targets(devices[0], bundles)
    args.out.mkdir(parents=True, exist_ok=True)
    found = measure_on_devices(devices, bundles, settings, args.out, console.print)
    if found.records:
        _write_report(found, args.out / "report.html")
    for line in found.failures:
        console.print(f"failed: {line}")
    if found.failures:
        tried = len(devices) * len(bundles)
        raise VlmPruneError(
            f"{len(found.records)} of {tried} measurements are there; the same command goes on with the rest"
        )


def _check_options(args: argparse.Namespace) -> None:
    """Raises `BadRequest` for options of the other platform, and for files that are not there."""
    foreign = {"android": ("app",), "ios": ("apk", "runner", "cores")}[args.platform]
    for name in foreign:
        if getattr(args, name) is not None:
            raise BadRequest(f"--{name} does not go with {args.platform}")
    if args.cores and not args.runner:
        raise BadRequest("--cores goes with --runner only: an app cannot choose its cores")
    for path in (args.apk, args.app, args.runner):
        if path is not None and not path.exists():
            raise BadRequest(f"{path}: no such file")


def _devices(args: argparse.Namespace) -> list[Device]:
    """Returns the devices to measure on. Raises `BadRequest` if none is attached, or one is not that was asked for."""
    attached = attached_androids() if args.platform == "android" else attached_iphones()
    names = args.device or attached
    missing = set(names) - set(attached)
    if missing or not names:
        told = (
            f"device {comma_list(sorted(missing))} is not attached"
            if missing
            else f"no {args.platform} device is attached"
        )
        raise BadRequest(f"{told}; attached: {comma_list(attached) or 'none'}")
    return [_device(args, name) for name in dict.fromkeys(names)]


def _device(args: argparse.Namespace, name: str) -> Device:
    if args.platform == "ios":
        return IosApp(name, args.app)
    return AndroidRunner(Adb(name), args.runner, args.cores) if args.runner else AndroidApp(Adb(name), args.apk)


def _write_report(found: DeviceRun, place: Path) -> None:
    """Writes the page of all records."""
    try:
        from vlmprune_tools.report import read_records, render_report
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "jinja2", "tools") from missing
    save_text(render_report(read_records(found.records), []), place)
    print(place)


if __name__ == "__main__":
    sys.exit(main())

"""Measures bundles on attached phones: pushes them, runs the benchmark there and fetches its record."""

from vlmprune_tools.devices.android_app import AndroidApp
from vlmprune_tools.devices.android_runner import AndroidRunner
from vlmprune_tools.devices.ios_app import IosApp
from vlmprune_tools.devices.measuring import Device, DeviceRun, measure_on_devices
from vlmprune_tools.devices.settings import DeviceSettings

__all__ = ["AndroidApp", "AndroidRunner", "Device", "DeviceRun", "DeviceSettings", "IosApp", "measure_on_devices"]

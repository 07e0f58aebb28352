"""Shared memory for images and clouds between the processes of one machine."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SEGMENT = 16 * 2**20
"""Bytes of shared memory a process writes through: a cloud of a KITTI image has 7.5 MB."""

_SHARED_MEMORY = Path("/dev") / "shm"  # where Fast DDS keeps its segments
# Fast DDS 2 and 3 read different ones.
_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
_USERS_CHOICES = (*_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")
_USERS_FILES = ("DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml")

_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>shared_memory</transport_id>
      <type>SHM</type>
      <segment_size>{segment}</segment_size>
    </transport_descriptor>
    <transport_descriptor>
      <transport_id>network</transport_id>
      <type>UDPv4</type>{interfaces}
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="large_messages" is_default_profile="true">
    <rtps>
      <userTransports>
        <transport_id>shared_memory</transport_id>
        <transport_id>network</transport_id>
      </userTransports>
      <useBuiltinTransports>false</useBuiltinTransports>
      <builtin>
        <discovery_config>
          <initialAnnouncements>
            <count>30</count>
            <period>
              <nanosec>100000000</nanosec>
            </period>
          </initialAnnouncements>
        </discovery_config>
      </builtin>
    </rtps>
  </participant>
</profiles>
"""
_LOOPBACK = """
      <interfaceWhiteList>
        <address>127.0.0.1</address>
      </interfaceWhiteList>"""


@contextmanager
def large_messages() -> Iterator[None]:
    """Let Fast DDS send images whole to best-effort subscribers.

    Its default segment of shared memory holds 0.5 MB: of an image of 1.4 MB, fragments are
    overwritten before a best-effort subscriber has read them, and most images are lost. By default
    a participant also announces itself for half a second, and then every three seconds; here it
    does so all the time between. The profile counts for participants made inside, that is for the
    first node of a process. Nothing changes where the user configured Fast DDS, where there is too
    little shared memory, or with another middleware.
    """
    chosen = any(os.environ.get(name) for name in _USERS_CHOICES)
    chosen = chosen or any(Path(name).exists() for name in _USERS_FILES)
    room = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > 4 * SEGMENT
    if chosen or not room:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="depthformer_") as folder:
        profile = Path(folder, "profile.xml")
        # Humble isolates robots by the interfaces of its own transports, which these replace.
        alone = os.environ.get("ROS_LOCALHOST_ONLY") == "1"
        profile.write_text(_PROFILE.format(segment=SEGMENT, interfaces=_LOOPBACK if alone else ""))
        os.environ.update(dict.fromkeys(_VARIABLES, str(profile)))
        try:
            yield
        finally:
            for name in _VARIABLES:
                del os.environ[name]

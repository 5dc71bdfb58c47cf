"""Name, time, language, disks: keys of cloud-config, and the form of their values after check().

=========================  ====================================================================
hostname, fqdn             str
prefer_fqdn_over_hostname  bool;  preserve_hostname  bool
manage_etc_hosts           True | False | "localhost" ("template" is True)
timezone                   str;  locale  str | False;  locale_configfile  str
keyboard                   {"layout": str, "model", "variant", "options": str}
ntp                        {"enabled": bool, "pools", "servers", "peers", "allow": list of str,
                           "ntp_client": str, "config": {…}}; null is {}
manage_resolv_conf         bool
resolv_conf                {"nameservers", "searchdomains", "sortlist": list of str, "domain":
                           str, "options": {name: bool | int | str}}
growpart                   {"mode": "auto" | "growpart" | "gpart" | "off", "devices": list of
                           str, "ignore_growroot_disabled": bool}
resize_rootfs              True | False | "noblock"
mounts                     list of rows: 1 to 6 of str | None
mount_default_fields       6 of str | None
swap                       {"filename": str, "size": int | str, "maxsize": int | str}
=========================  ====================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.shapes import FLAG_WORDS, Choice, Field, Number, Text, flag
from guestagent.parse.userdata.shapes_nested import Either, ListOf, MapOf, ObjectOf

_WRITTEN = Text(numbers=True)
_NAME = Text(numbers=True, blank=False)
_WORDS = ListOf(Text(), single=True)
_SIZE = Either(Number(least=0, text=False), Text())

_KEYBOARD = ObjectOf(
    {
        "layout": Field(Text(), "The layout: XKBLAYOUT of keyboard(5).", required=True),
        "model": Field(_WRITTEN, "The model: XKBMODEL.  Default: pc105."),
        "variant": Field(Text(), "The variant: XKBVARIANT."),
        "options": Field(Text(), "Options: XKBOPTIONS."),
    },
    example="{layout: de}",
)

_NTP = ObjectOf(
    {
        "enabled": Field(flag(), "Set up a time client.  Default: true."),
        "pools": Field(_WORDS, "Names that stand for many servers each."),
        "servers": Field(_WORDS, "Servers."),
        "peers": Field(_WORDS, "Peers; only some clients have these."),
        "allow": Field(_WORDS, "Networks that may ask this machine for the time."),
        "ntp_client": Field(Text(), "The client: chrony, systemd-timesyncd…  Default: auto."),
        "config": Field(
            ObjectOf(
                {
                    "confpath": Field(Text(), "The client's configuration file."),
                    "check_exe": Field(Text(), "The client's program."),
                    "packages": Field(_WORDS, "Packages to install for it."),
                    "service_name": Field(Text(), "Its service."),
                    "template": Field(Text(), "Template of the configuration file."),
                }
            ),
            "A client of which little is known.",
        ),
    },
    null=True,
    example="{servers: [ntp.example]}",
)

_RESOLV_CONF = ObjectOf(
    {
        "nameservers": Field(_WORDS, "Addresses of name servers."),
        "searchdomains": Field(_WORDS, "Domains to complete short names with."),
        "domain": Field(Text(), "The local domain."),
        "sortlist": Field(_WORDS, "Networks whose addresses come first."),
        "options": Field(
            MapOf(Either(Choice(True, False), Number(text=False), Text())),
            "Options of resolv.conf(5); true for those without a value.",
        ),
    }
)

_GROWPART = ObjectOf(
    {
        "mode": Field(
            Choice("auto", "growpart", "gpart", "off", old=((False, "off"),)),
            "By what means partitions grow; off leaves them.  Default: auto.",
        ),
        "devices": Field(_WORDS, "Mount points or devices that grow.  Default: the root."),
        "ignore_growroot_disabled": Field(flag(), "Grow although the image says not to."),
    },
    example="{mode: auto}",
)

_SWAP = ObjectOf(
    {
        "filename": Field(Text(), "The swap file."),
        "size": Field(_SIZE, "Bytes; or a number with B, K, M, G or T; or auto."),
        "maxsize": Field(_SIZE, "The most that auto may take."),
    },
    example="{filename: /swap, size: 1G}",
)

KEYS = {
    "hostname": Field(_NAME, "The host name."),
    "fqdn": Field(_NAME, "The host name with its domain."),
    "prefer_fqdn_over_hostname": Field(flag(), "Make fqdn the host name where both are given."),
    "preserve_hostname": Field(flag(), "Leave the host name alone.  Default: false."),
    "manage_etc_hosts": Field(
        Choice(True, False, "localhost", old=(*FLAG_WORDS, ("template", True))),
        "Keep the host name in /etc/hosts; localhost only its own line.  Default: false.",
    ),
    "timezone": Field(Text(blank=False), "The time zone, a name below /usr/share/zoneinfo."),
    "locale": Field(
        Either(Choice(False), Text(blank=False)),
        "The locale; false leaves it alone, as does no value.",
    ),
    "locale_configfile": Field(Text(), "The file that names the locale."),
    "keyboard": Field(_KEYBOARD, "The keyboard."),
    "ntp": Field(_NTP, "Time servers, and the client that asks them."),
    "manage_resolv_conf": Field(flag(), "Write what resolv_conf says.  Default: false."),
    "resolv_conf": Field(_RESOLV_CONF, "What resolv.conf(5) is to say."),
    "growpart": Field(_GROWPART, "How partitions grow to the size of their disk."),
    "resize_rootfs": Field(
        Choice(True, False, "noblock", old=FLAG_WORDS),
        "Grow the root's file system; noblock in the background.  Default: true.",
    ),
    "mounts": Field(
        ListOf(ListOf(_WRITTEN, whole=True, nulls="keep", length=(1, 6))),
        "Lines of fstab(5), as lists of their fields.",
    ),
    "mount_default_fields": Field(
        ListOf(_WRITTEN, whole=True, nulls="keep", length=(6, 6)),
        "Fields for lines of mounts that have less than six.",
    ),
    "swap": Field(_SWAP, "A swap file."),
}

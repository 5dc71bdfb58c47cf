"""guestagent: turns a freshly booted virtual machine into yours."""

VERSION = "0.1.0"

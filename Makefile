# What a developer does, on Debian 12 or later. Missing Debian packages are installed (through
# sudo, for a user who is not root); everything from PyPI goes into .venv.
#
#   make run    show the main job on a sample config drive, on a scratch tree
#   make check  lint, types, and the tests that need no guest and no further package: the inner loop
#   make test   all tests, those in booted guests too
#   make test-all  what takes too long for every change: 50 power cuts in a first boot, the daemon on every
#                  network stack, seeds of NoCloud and signed user data in guests (an hour or more)
#   make mutants [MUTANTS="WORD..."]  take behaviours away one by one: tests must catch each
#   make fuzz [SECONDS=60] [SEED=N]  mutants of the samples through every reader and planner
#   make compare [USER_DATA="FILE..."]  what differs from cloud-init, in two booted guests
#   make lint | types | bench | load | deb | clean

PYTHON ?= python3
VENV := .venv
IN_VENV := $(VENV)/bin/python -m

RUN_PACKAGES := openssh-client passwd python3-yaml xorriso
DEB_PACKAGES := debhelper dh-python dpkg-dev python3
TEST_PACKAGES := $(RUN_PACKAGES) $(DEB_PACKAGES) acl attr ca-certificates debootstrap dnsmasq-base dosfstools fdisk \
	e2fsprogs gcc gir1.2-nm-1.0 gpg gpg-agent iproute2 libc6-dev libcap2-bin libfaketime locales mandoc mtools openssl python3-gi qemu-system-x86 sshpass \
	strace systemd util-linux

# Programs of packages whose installation would start a service or take over the network.
UNPACKED := $(CURDIR)/$(VENV)/sshd/usr/sbin:$(CURDIR)/$(VENV)/ifupdown/sbin:$(CURDIR)/$(VENV)/ifupdown/usr/sbin

# Root is what guests and their images need. Nothing that root writes stays in the tree.
TEST_ENVIRONMENT := GUESTAGENT_REQUIRE_ALL=1 PYTHONDONTWRITEBYTECODE=1 \
	HYPOTHESIS_STORAGE_DIRECTORY=$$(mktemp -d) \
	PATH="$(UNPACKED):$$PATH:/usr/sbin:/sbin"
PASSED_ON := CI,GUESTAGENT_CACHE,GUESTAGENT_MIRROR,GUESTAGENT_SUITE,GUESTAGENT_VM_PATIENCE,http_proxy,https_proxy,no_proxy
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo -H --preserve-env=$(PASSED_ON))

.PHONY: run check test test-all tools mutants fuzz compare lint types bench load deb clean

run:
	@packaging/need $(RUN_PACKAGES)
	@PYTHON=$(PYTHON) tests/demo.sh

test: $(VENV)/ready tools
	$(AS_ROOT) env $(TEST_ENVIRONMENT) PYTEST="$(IN_VENV) pytest -o cache_dir=$$(mktemp -d)" \
		tests/run.sh $(PYTEST_ARGUMENTS)

# All cases of the first one; the others are what make test leaves out.
LONG_TESTS := $(addprefix tests/vm/,test_network_lab.py $(shell cat tests/vm/long_tests))

test-all: $(VENV)/ready tools
	$(AS_ROOT) env $(TEST_ENVIRONMENT) GUESTAGENT_POWER_CUTS=50 $(IN_VENV) pytest -p no:cacheprovider \
		$(or $(PYTEST_ARGUMENTS),$(LONG_TESTS))

mutants: $(VENV)/ready tools
	$(AS_ROOT) env $(TEST_ENVIRONMENT) $(IN_VENV) tests.mutants $(MUTANTS)

tools:
	@packaging/need $(TEST_PACKAGES)
	@packaging/need --unpack openssh-server usr/sbin/sshd $(VENV)/sshd
	@packaging/need --unpack ifupdown sbin/ifquery $(VENV)/ifupdown
	@packaging/need --unpack ifupdown-ng sbin/ifparse $(VENV)/ifupdown-ng
	@packaging/need --unpack netplan.io usr/libexec/netplan/generate $(VENV)/netplan
	@packaging/need --unpack sudo usr/sbin/visudo $(VENV)/sudo
	@packaging/need --unpack cloud-init usr/share/doc/cloud-init/examples $(VENV)/cloud-init

check: lint types
	env PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=$$(mktemp -d) PATH="$(UNPACKED):$$PATH:/usr/sbin:/sbin" \
		$(IN_VENV) pytest -p no:cacheprovider -q -n auto --ignore=tests/vm --ignore=tests/service --ignore=tests/faults

fuzz: $(VENV)/ready
	env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=tests $(IN_VENV) fuzz $(or $(SECONDS),60) $(SEED)

compare: $(VENV)/ready
	@packaging/need $(TEST_PACKAGES)
	$(AS_ROOT) env PYTHONDONTWRITEBYTECODE=1 PATH="$$PATH:/usr/sbin:/sbin" \
		$(IN_VENV) tests.vm.compare $(USER_DATA)

lint: $(VENV)/ready
	$(IN_VENV) ruff check
	$(IN_VENV) ruff format --check

types: $(VENV)/ready
	$(IN_VENV) mypy

bench:
	$(PYTHON) tests/bench.py

load: $(VENV)/ready
	env PYTHONPATH=tests $(IN_VENV) service.load

deb:
	@packaging/need $(DEB_PACKAGES)
	packaging/build-deb dist

clean:
	rm -rf $(VENV) dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What pyproject.toml asks for, without the project itself: tests run it from the tree.
$(VENV)/ready: pyproject.toml
	@test ! -L $(VENV) || { echo "$(VENV) is another checkout's: run make $(VENV)/ready there" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || packaging/need python3-venv
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -c 'import tomllib; \
		project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*project["dependencies"], *project["optional-dependencies"]["dev"], sep="\n")' \
		> $(VENV)/requirements.txt
	$(IN_VENV) pip install --quiet --disable-pip-version-check -r $(VENV)/requirements.txt
	touch $@

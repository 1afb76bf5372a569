# SPDX-License-Identifier: Apache-2.0
#
#   make                       build/etchlet: static, stripped, for this machine's architecture with musl
#   make help                  everything else
#
# No option is needed, these are there:
#   O=DIR           build in DIR; nothing is written in the source tree
#   V=1             show the commands
#   CROSS_COMPILE=  prefix of the compiler and its tools      CC=  CFLAGS=  LDFLAGS=  PKG_CONFIG=
#   STATIC=0        link dynamically                          WERROR=1  warnings are errors
#   SYSROOT_LIBS=1  take mbedTLS, nanopb and libcurl of the target by pkg-config, build none
#   DEPS_DIR=DIR    tarballs of the libraries, for machines without Debian's archive
#   DEPS=DIR        where libraries are built and kept        NANOPB_GENERATED=DIR  has etcd.pb.[ch]
#   DESTDIR= PREFIX= SYSCONFDIR=  for install     SYSTEMD_UNIT_DIR=DIR  install the systemd unit there too

VERSION := 0.1.0

O ?= build
DEPS ?= $(O)/deps
PREFIX ?= /usr
SYSCONFDIR ?= /etc
SYSTEMD_UNIT_DIR ?=
PORT ?= linux
STATIC ?= 1
SYSROOT_LIBS ?= 0
KCONFIG_CONFIG ?= $(O)/.config
PKG_CONFIG ?= $(CROSS_COMPILE)pkg-config
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
DEPS_DIR ?=
export DEPS_DIR KCONFIG_CONFIG

.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
all:

# A goal that makes a configuration, and others beside it: one after the other, each with what the one before
# has made. (make tiny_defconfig all)
ifneq ($(and $(filter %config,$(MAKECMDGOALS)),$(word 2,$(MAKECMDGOALS))),)
.PHONY: $(MAKECMDGOALS) one-by-one
$(MAKECMDGOALS): one-by-one
	@:
one-by-one:
	+@set -e; for goal in $(MAKECMDGOALS); do $(MAKE) --no-print-directory $$goal; done
else

Q := $(if $(V),,@)
say = $(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),,@printf '  %-7s %s\n' $(1) $(2))
gen := $(O)/include/generated

# ---------------------------------------------------------------- configuration

config_tools := menuconfig oldconfig olddefconfig savedefconfig listnewconfig allnoconfig allyesconfig randconfig
no_config := help clean distclean setup size-options lint demo test test-unit test-sim test-system test-odd fuzz bench config defconfig %_defconfig \
	$(config_tools)
kconfig = mkdir -p $(O) && $(PYTHON) board/tools/kconfig

ifneq ($(filter-out $(no_config),$(or $(MAKECMDGOALS),all)),)
with_config := y
# The options that are set, as makefile variables: CONFIG_X is y or empty. Making it also makes autoconf.h and
# touches a stamp for each option that changed; make then starts over. A Kconfig tool is needed only to make a
# .config, or to bring one up to date that is older than the Kconfig files.
include $(gen)/options

$(gen)/options: $(KCONFIG_CONFIG) board/tools/syncconfig
	@board/tools/syncconfig $(KCONFIG_CONFIG) $(O)

$(KCONFIG_CONFIG): $(wildcard Kconfig src/*/Kconfig* port/Kconfig)
	@if [ ! -f $@ ]; then \
		$(kconfig) defconfig board/x86_64_defconfig; \
	elif $(PYTHON) -c 'import kconfiglib' 2>/dev/null; then \
		$(kconfig) olddefconfig >/dev/null && touch $@; \
	else \
		echo "warning: $@ is older than the Kconfig files, and python3-kconfiglib is missing" >&2; \
	fi
endif

config: oldconfig
menuconfig:
	@$(kconfig) menuconfig
oldconfig:
	@$(kconfig) oldconfig
olddefconfig:
	@$(kconfig) olddefconfig
listnewconfig:
	@$(kconfig) listnewconfig
allnoconfig:
	@$(kconfig) allnoconfig
allyesconfig:
	@$(kconfig) allyesconfig
randconfig:
	@$(kconfig) randconfig
savedefconfig:
	@$(kconfig) savedefconfig --out $(if $(filter file,$(origin O)),defconfig,$(O)/defconfig)
defconfig: x86_64_defconfig
boards := $(notdir $(wildcard board/*_defconfig))
$(boards):
	@$(kconfig) defconfig board/$@
%_defconfig:
	@echo "there is no board/$@; make help lists the boards" >&2; exit 1

# ---------------------------------------------------------------- compiler

ifeq ($(origin CC),default)
ifneq ($(CROSS_COMPILE),)
CC := $(CROSS_COMPILE)gcc
else ifneq ($(STATIC)$(shell command -v musl-gcc),1)
CC := $(or $(shell command -v musl-gcc),gcc)
else
CC = $(error musl-gcc is missing: install musl-tools (make setup), or give CC=)
endif
endif
AR := $(if $(filter default,$(origin AR)),$(CROSS_COMPILE)ar,$(AR))
STRIP ?= $(CROSS_COMPILE)strip
CFLAGS ?= -Os -g

# The way of each event, from the socket to its line, takes a sixth fewer instructions when it is built for speed,
# one with a value of 4 KiB less than half, for 4 KB of code.
# So where all is built for size, these are not; without -Os in CFLAGS they are as all else.
hot := src/base/json_text.c src/etcd/split.c src/sync/feed.c src/sink/print.c src/sink/print_json.c src/sink/print_line.c
hot_cflags := $(if $(filter -Os,$(CFLAGS)),-O2)

warnings := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Wformat=2 $(if $(filter 1,$(WERROR)),-Werror)
# One section a function, and no tables for unwinding: the linker drops what nobody calls.
codegen := -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-unwind-tables \
	$(if $(filter 1,$(STATIC)),-fno-pie) -ffile-prefix-map=$(CURDIR)/= -ffile-prefix-map=$(abspath $(O))=build
link := -Wl,--gc-sections -Wl,--build-id=none $(if $(filter 1,$(STATIC)),-static -no-pie) -Wl,-z,max-page-size=4096 \
	-Wl,-z,noseparate-code

# Debian's musl has no kernel headers: those of the machine, after everything else, and no others of it.
ifdef with_config
ifneq ($(findstring musl-gcc,$(notdir $(firstword $(CC)))),)
kernel_headers := $(O)/include/kernel
kernel_cflags := -idirafter $(kernel_headers)
endif
endif
$(kernel_headers):
	@mkdir -p $@
	@multi=/usr/include/$$($(CC) -dumpmachine); \
	for d in linux asm asm-generic mtd; do \
		for from in $$multi/$$d /usr/include/$$d; do \
			[ ! -d $$from ] || { ln -sfn $$from $@/$$d; break; }; \
		done; \
	done

# ---------------------------------------------------------------- files

rooms := base net etcd store sync sink conf cmd

# Files that an option brings in, left out when it is off; every other .c of a room is always built.
left_out-$(CONFIG_NET_TLS) += src/net/tls%.c test/unit/test_tls%.c
left_out-$(CONFIG_NET_HTTP) += src/cmd/client_http.c src/cmd/check_http.c src/net/http%.c src/net/tls_http.c test/unit/test_http%.c
left_out-$(CONFIG_NET_PROXY) += src/net/proxy.c src/net/tunnel.c src/conf/proxy.c \
	test/unit/test_proxy.c test/unit/test_tunnel.c test/unit/test_conf_proxy.c
left_out-$(CONFIG_SINK_EACH) += src/sink/each%.c test/unit/test_each%.c
left_out-$(CONFIG_SINK_BATCH) += src/sink/batch%.c test/unit/test_batch%.c
left_out-$(CONFIG_SINK_HOOK) += src/sink/hook%.c test/unit/test_hook%.c
left_out-$(CONFIG_SINK_POST) += src/sink/post%.c test/unit/test_post%.c
left_out-$(CONFIG_SINK_FETCH) += src/sink/fetch%.c test/unit/test_fetch%.c src/cmd/report_fetch.c src/cmd/progress.c \
	test/unit/test_progress.c test/unit/test_report_fetch.c
left_out-$(CONFIG_CMD_STATUS) += src/cmd/status.c src/cmd/control.c test/unit/test_control.c port/linux/local.c
left_out-$(CONFIG_METRICS) += src/cmd/metrics.c test/unit/test_metrics.c
left_out-$(CONFIG_NOTIFY) += src/cmd/notify.c test/unit/test_notify.c
left_out-$(CONFIG_SINK_MIRROR) += src/sink/mirror%.c test/unit/test_mirror%.c

# A file of the same place and name under port/$(PORT)/ replaces the generic one in src/.
in_rooms := $(wildcard $(rooms:%=src/%/*.c))
replaced := $(foreach f,$(in_rooms),$(if $(wildcard $(f:src/%=port/$(PORT)/%)),$(f)))
sources := $(filter-out $(left_out-) $(replaced),$(in_rooms)) $(replaced:src/%=port/$(PORT)/%) \
	$(wildcard port/$(PORT)/*.c)

objects := $(sources:%.c=$(O)/obj/%.o)
main_object := $(O)/obj/src/main.o

# ---------------------------------------------------------------- libraries

# Built from pinned tarballs (board/tools/deps.list), once for each compiler, flags and configuration, and kept.
dep_version = $(shell awk '$$1 == "$(1)" { print $$2 }' board/tools/deps.list)
dep_stamp = $(DEPS)/src/$(1)-$(dep_version)/.unpacked-$(shell awk '$$1 == "$(1)" { print $$4 }' board/tools/deps.list)
dep_dir = $(DEPS)/lib/$(1)-$(dep_version)-$(shell { $(CC) -v 2>&1; echo '$(lib_flags) $(2)'; \
	grep '^$(1) ' board/tools/deps.list; cat board/tools/lib.mk $(3); } | sha256sum | cut -c 1-12)
# Other people's code is watched for its memory, not for what its authors hold to be harmless.
lib_flags := $(filter-out -ffile-prefix-map=%,$(codegen)) $(CFLAGS) \
	$(if $(findstring -fsanitize=address,$(CFLAGS)),-fno-sanitize=undefined)
lib_jobs = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc 2>/dev/null || echo 1))
lib_make = mkdir -p $(@D) && $(MAKE) $(lib_jobs) --no-print-directory -f board/tools/lib.mk LIB=$@ CC='$(CC)' AR='$(AR)' V=$(V)

$(DEPS)/src/%:
	$(Q)board/tools/fetch $(firstword $(subst -, ,$*)) $(DEPS)

ifdef with_config

ifeq ($(CONFIG_NET_TLS)$(SYSROOT_LIBS),y1)
lib_cflags += $(shell $(PKG_CONFIG) --cflags mbedtls mbedx509 mbedcrypto)
lib_ldflags += $(shell $(PKG_CONFIG) $(if $(filter 1,$(STATIC)),--static) --libs mbedtls mbedx509 mbedcrypto)
else ifdef CONFIG_NET_TLS
tls_options := $(foreach v,$(sort $(filter CONFIG_TLS_%,$(.VARIABLES))),$(v)=$($(v)))
mbedtls_stamp := $(call dep_stamp,mbedtls)
mbedtls_src := $(dir $(mbedtls_stamp))
mbedtls := $(call dep_dir,mbedtls,$(tls_options),src/net/mbedtls_config.h)
lib_cflags += -isystem $(mbedtls_src)include -DMBEDTLS_CONFIG_FILE='"net/mbedtls_config.h"'
libs += $(mbedtls)/libmbedtls.a
lib_headers += $(mbedtls_stamp)

# It sees the options of TLS only, so that no other one builds it again.
$(mbedtls)/libmbedtls.a: $(mbedtls_stamp)
	$(call say,LIB,$(notdir $(@D)))
	@mkdir -p $(@D)
	@grep 'CONFIG_TLS_' $(gen)/autoconf.h >$(@D)/options.h || :
	@cp src/net/mbedtls_config.h $(@D)/config.h
	+$(Q)$(lib_make) FILES='$$(wildcard $(mbedtls_src)library/*.c)' \
		LIBFLAGS='-std=c11 -D_POSIX_C_SOURCE=200809L -w $(lib_flags) -ffile-prefix-map=$(abspath $(DEPS))=deps \
		-ffile-prefix-map=$(DEPS)=deps -include $(@D)/options.h -DMBEDTLS_CONFIG_FILE="\"$(abspath $(@D))/config.h\"" \
		-I$(mbedtls_src)include -I$(mbedtls_src)library'
endif

# Before mbedTLS in the order of linking, for it needs that.
ifeq ($(CONFIG_NET_HTTP)$(SYSROOT_LIBS),y1)
lib_cflags += $(shell $(PKG_CONFIG) --cflags libcurl)
lib_ldflags := $(shell $(PKG_CONFIG) $(if $(filter 1,$(STATIC)),--static) --libs libcurl) $(lib_ldflags)
else ifdef CONFIG_NET_HTTP
curl_stamp := $(call dep_stamp,curl)
curl_src := $(dir $(curl_stamp))
curl_files := $(addprefix $(curl_src)lib/,$(addsuffix .c,$(addprefix curlx/,base64 dynbuf inet_pton nonblock strparse timediff \
	timeval warnless) vauth/cleartext vauth/vauth bufq bufref cf-h1-proxy cf-haproxy cf-https-connect cf-socket cfilters conncache connect \
	content_encoding cshutdn curl_addrinfo curl_memrchr curl_trc cw-out cw-pause dynhds easy escape fake_addrinfo getenv getinfo \
	hash headers hmac hostip hostip4 hostip6 http http1 http_chunks http_proxy idn if2ip inet_ntop llist mprintf multi multi_ev noproxy \
	parsedate progress rand request select sendf setopt sha256 share slist socks speedcheck splay strcase strdup strequal strerror \
	transfer uint-bset uint-hash uint-spbset uint-table url urlapi version vquic/vquic vtls/vtls \
	$(if $(mbedtls),vtls/cipher_suite vtls/hostcheck vtls/keylog vtls/mbedtls vtls/mbedtls_threadlock \
	vtls/vtls_scache vtls/x509asn1)))
curl := $(call dep_dir,curl,$(CONFIG_NET_PROXY) $(mbedtls) $(notdir $(curl_files)),src/net/curl_config.h)
lib_cflags += -isystem $(curl_src)include -DCURL_STATICLIB
libs := $(curl)/libcurl.a $(libs)
lib_headers += $(curl_stamp)

$(curl)/libcurl.a: $(curl_stamp) $(mbedtls_stamp) $(if $(mbedtls),$(mbedtls)/libmbedtls.a)
	$(call say,LIB,$(notdir $(@D)))
	@mkdir -p $(@D)
	@cp src/net/curl_config.h $(@D)/curl_config.h
	+$(Q)$(lib_make) FILES='$(curl_files)' \
		LIBFLAGS='-std=gnu11 -w $(lib_flags) -ffile-prefix-map=$(abspath $(DEPS))=deps -ffile-prefix-map=$(DEPS)=deps \
		$(if $(CONFIG_NET_PROXY),-DCONFIG_NET_PROXY=1) $(if $(mbedtls),-DCONFIG_NET_TLS=1 -include $(mbedtls)/options.h \
		-DMBEDTLS_CONFIG_FILE="\"$(abspath $(mbedtls))/config.h\"" -I$(mbedtls_src)include) -DHAVE_CONFIG_H -DBUILDING_LIBCURL \
		-DCURL_STATICLIB -I$(@D) -I$(curl_src)lib -I$(curl_src)include'
endif

ifeq ($(SYSROOT_LIBS)$(shell $(PKG_CONFIG) --exists nanopb 2>/dev/null && echo y),1y)
lib_cflags += $(shell $(PKG_CONFIG) --cflags nanopb)
lib_ldflags += $(shell $(PKG_CONFIG) --libs nanopb)
else
nanopb_stamp := $(call dep_stamp,nanopb)
nanopb_src := $(dir $(nanopb_stamp))
nanopb := $(call dep_dir,nanopb)
lib_cflags += -isystem $(nanopb_src)
libs += $(nanopb)/libnanopb.a
lib_headers += $(nanopb_stamp)

$(nanopb)/libnanopb.a: $(nanopb_stamp)
	$(call say,LIB,$(notdir $(@D)))
	+$(Q)$(lib_make) FILES='$(addprefix $(nanopb_src),pb_common.c pb_decode.c pb_encode.c)' \
		LIBFLAGS='-std=c11 -w $(lib_flags) -ffile-prefix-map=$(abspath $(DEPS))=deps -ffile-prefix-map=$(DEPS)=deps -I$(nanopb_src)'
endif

# jsmn is one header; the values of fetch are read with it.
ifeq ($(CONFIG_SINK_FETCH)$(SYSROOT_LIBS)$(shell echo '#include <jsmn.h>' | $(CC) -E - >/dev/null 2>&1 && echo y),y1y)
else ifdef CONFIG_SINK_FETCH
jsmn_stamp := $(call dep_stamp,jsmn)
lib_cflags += -isystem $(dir $(jsmn_stamp))
lib_headers += $(jsmn_stamp)
endif

# Messages of etcd's API, written by nanopb's generator.
ifneq ($(wildcard proto/etcd.proto),)
pb := $(O)/gen/proto/etcd.pb
objects += $(O)/obj/gen/proto/etcd.pb.o
lib_headers += $(pb).h
ifdef NANOPB_GENERATED
$(pb).h: $(wildcard $(NANOPB_GENERATED)/etcd.pb.[ch])
	@mkdir -p $(@D)
	$(Q)cp $^ $(@D)
else
$(pb).h: proto/etcd.proto $(wildcard proto/etcd.options) $(call dep_stamp,nanopb)
	$(call say,PROTO,$<)
	@mkdir -p $(@D)
	$(Q)$(PYTHON) $(dir $(call dep_stamp,nanopb))generator/nanopb_generator.py -q -T -I proto -f proto/etcd.options \
		-D $(@D) -L '#include "%s"' proto/etcd.proto
endif
$(pb).c: $(pb).h ;
endif

# cmocka, for the tests
cmocka_stamp := $(call dep_stamp,cmocka)
cmocka_src := $(dir $(cmocka_stamp))
cmocka := $(call dep_dir,cmocka)
$(cmocka)/libcmocka.a: $(cmocka_stamp)
	$(call say,LIB,$(notdir $(@D)))
	+$(Q)$(lib_make) FILES='$(cmocka_src)src/cmocka.c' \
		LIBFLAGS='-std=gnu11 -w $(lib_flags) -include board/tools/cmocka_config.h -I$(cmocka_src)include'

endif # with_config

headers := $(gen)/options $(gen)/version.h $(lib_headers) $(kernel_headers)

# ---------------------------------------------------------------- build

cppflags = -std=c11 -D_POSIX_C_SOURCE=200809L -include $(gen)/autoconf.h -Isrc -I. -I$(O)/gen -I$(O)/include \
	$(lib_cflags) $(kernel_cflags)
compile = $(CC) $(cppflags) $(warnings) $(codegen) $(CFLAGS)

all: $(O)/etchlet

# Rewritten when the compiler or its flags change, so that everything is built again.
$(gen)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(compile) $(hot_cflags) $(hot) $(link) $(LDFLAGS))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(compile) $(hot_cflags) $(hot) $(link) $(LDFLAGS))' >$@

# The one header that differs from commit to commit; only the file that prints the version includes it.
$(gen)/version.h: FORCE
	@mkdir -p $(@D)
	@board/tools/version $(VERSION) >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

before_objects := $(gen)/flags | $(headers)

# For lint and editors: what a file is compiled with.
cppflags: $(headers)
	@echo '$(subst ','\'',$(cppflags))'

$(O)/obj/gen/%.o: $(O)/gen/%.c $(before_objects)
	$(call say,CC,gen/$*.c)
	@mkdir -p $(@D)
	$(Q)$(CC) $(cppflags) -w $(codegen) $(CFLAGS) -c -o $@ $<

$(O)/obj/test/unit/%.o: test/unit/%.c $(before_objects) $(cmocka_stamp)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(compile) -isystem $(cmocka_src)include -Itest/unit -MMD -MP -MF $@.d -c -o $@ $<
	@board/tools/fixdep $@.d $@ $(O)

$(O)/obj/%.o: %.c $(before_objects)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(compile) $(if $(filter $<,$(hot)),$(hot_cflags)) -MMD -MP -MF $@.d -c -o $@ $<
	@board/tools/fixdep $@.d $@ $(O)

-include $(wildcard $(O)/obj/src/*.d $(O)/obj/src/*/*.d $(O)/obj/port/*/*.d $(O)/obj/port/*/*/*.d $(O)/obj/test/unit/*.d $(O)/obj/test/sim/*.d)

# Everything but main(), as the unit tests link it.
$(O)/libetchlet.a: $(objects)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) crs $@ $^

$(O)/etchlet.full: $(main_object) $(objects) $(libs)
	$(call say,LD,$@)
	$(Q)$(CC) $(codegen) $(CFLAGS) $(link) $(LDFLAGS) -Wl,-Map=$(O)/etchlet.map -o $@ $(main_object) $(objects) $(libs) $(lib_ldflags)

$(O)/etchlet: $(O)/etchlet.full
	$(call say,STRIP,$@)
	$(Q)cp $< $@.new && $(STRIP) $@.new && mv $@.new $@

# A configuration that somebody has written stays as it is.
install: $(O)/etchlet
	$(call say,INSTALL,$(DESTDIR)$(PREFIX)/sbin/etchlet)
	$(Q)install -D -m 755 $(O)/etchlet $(DESTDIR)$(PREFIX)/sbin/etchlet
	$(call say,INSTALL,$(DESTDIR)$(SYSCONFDIR)/etchlet.conf)
	$(Q)[ -e $(DESTDIR)$(SYSCONFDIR)/etchlet.conf ] || \
		install -D -m 644 board/etchlet.conf $(DESTDIR)$(SYSCONFDIR)/etchlet.conf
ifneq ($(SYSTEMD_UNIT_DIR),)
	$(call say,INSTALL,$(DESTDIR)$(SYSTEMD_UNIT_DIR)/etchlet.service)
	$(Q)install -d $(DESTDIR)$(SYSTEMD_UNIT_DIR)
	$(Q)sed 's,/usr/sbin/,$(PREFIX)/sbin/,; s,/etc/etchlet.conf,$(SYSCONFDIR)/etchlet.conf,' \
		board/systemd/etchlet.service >$(DESTDIR)$(SYSTEMD_UNIT_DIR)/etchlet.service
	$(Q)chmod 644 $(DESTDIR)$(SYSTEMD_UNIT_DIR)/etchlet.service
endif

size: $(O)/etchlet
	@$(PYTHON) board/tools/size $(O)/etchlet.map $(O)/etchlet $(O)/size.last
size-options:
	@board/tools/setup build
	@PYTHON=$(PYTHON) DEPS=$(DEPS) board/tools/size-options $(O)

clean:
	rm -rf $(O)/obj $(O)/gen $(O)/include $(O)/unit $(O)/libetchlet.a $(O)/etchlet $(O)/etchlet.full $(O)/etchlet.map \
		$(O)/full $(O)/asan $(O)/clang $(O)/fuzz $(O)/odd $(O)/sim $(O)/sim-small $(O)/mutants $(O)/again $(O)/lint $(O)/size-options $(O)/test-logs $(O)/test-config

distclean: clean
	rm -rf $(DEPS)
	rm -f $(KCONFIG_CONFIG) $(O)/.config.old $(O)/size.last defconfig
	-@rmdir $(O) 2>/dev/null || :

FORCE:
.PHONY: FORCE all install size size-options cppflags clean distclean help config defconfig $(boards) $(config_tools) test test-unit test-sim test-system test-odd fuzz bench lint demo setup

# ---------------------------------------------------------------- tests

unit_tests := $(filter-out $(left_out-),$(wildcard test/unit/test_*.c))
unit: $(unit_tests:test/unit/%.c=$(O)/unit/%)
# The tests of this configuration, for board/tools/test.
unit-names:
	@printf '%s\n' $(unit_tests:test/unit/%.c=%)
.PHONY: unit unit-names

$(O)/unit/%: $(O)/obj/test/unit/%.o $(O)/libetchlet.a $(libs) $(cmocka)/libcmocka.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(codegen) $(CFLAGS) $(link) $(LDFLAGS) -o $@ $(filter %.o,$^) $(O)/libetchlet.a $(libs) $(cmocka)/libcmocka.a $(lib_ldflags)

# The whole agent in a simulated world, in a folder of its own: make PORT=sim O=build/sim sim
sim: $(O)/simulation
.PHONY: sim

$(O)/simulation: $(patsubst %.c,$(O)/obj/%.o,$(wildcard test/sim/*.c)) $(O)/libetchlet.a $(libs)
	$(call say,LD,$@)
	$(Q)$(CC) $(codegen) $(CFLAGS) $(link) $(LDFLAGS) -o $@ $(filter %.o,$^) $(O)/libetchlet.a $(libs) $(lib_ldflags)

# Fuzzers (libFuzzer): a build with clang and coverage, which board/tools/test makes in a folder of its own.
fuzzers: $(patsubst test/fuzz/%.c,$(O)/fuzz/%,$(wildcard test/fuzz/fuzz_*.c))
.PHONY: fuzzers
$(O)/fuzz/%: $(O)/obj/test/fuzz/%.o $(O)/libetchlet.a $(libs)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(codegen) $(CFLAGS) -fsanitize=fuzzer $(link) $(LDFLAGS) -o $@ $< $(O)/libetchlet.a $(libs) $(lib_ldflags)

setup:
	@board/tools/setup build

test:
	@board/tools/setup build test lint
	@board/tools/test $(O)
test-unit test-sim test-system test-odd:
	@board/tools/setup build test
	@board/tools/test $(O) $(@:test-%=%)
# FUZZ_SECONDS=N: for each fuzzer (5)
fuzz:
	@board/tools/setup build test
	@board/tools/test $(O) fuzz
bench:
	@board/tools/setup build test
	@$(MAKE) --no-print-directory all
	@board/tools/fetch-etcd $(DEPS)/etcd $(DEPS)/apt
	@$(PYTHON) test/bench/bench.py --binary $(O)/etchlet --etcd-dir $(DEPS)/etcd
lint:
	@board/tools/setup build lint
	@board/tools/lint $(O)
demo:
	@board/tools/setup build demo
	@board/tools/demo $(O)

help:
	@sed -n '3,/^$$/s/^# \{0,1\}//p' Makefile
	@echo 'Targets:'
	@echo '  all (the default)  install  size  size-options  clean  distclean (.config and libraries too)'
	@echo '  setup      install the Debian packages that a build needs (sudo when not root)'
	@echo '  test       everything; parts: test-unit test-sim test-system test-odd fuzz lint'
	@echo '  bench      CPU and memory against etcdctl'
	@echo '  demo       a local etcd and an agent that follows it'
	@echo 'Configuration (in $(KCONFIG_CONFIG)):'
	@echo '  menuconfig oldconfig olddefconfig savedefconfig listnewconfig'
	@echo '  allnoconfig allyesconfig randconfig defconfig (x86_64)'
	@printf '  %s\n' $(notdir $(wildcard board/*_defconfig))

endif # one goal, or none that makes a configuration

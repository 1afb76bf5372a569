/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IS_ENABLED(CONFIG_X): 1 when the option is set, else 0, usable in plain if () so that both
 * branches are always compiled. The trick is the kernel's: a macro that is defined as 1 shifts the
 * arguments by one.
 */
#ifndef ETCHLET_BASE_KCONFIG_H
#define ETCHLET_BASE_KCONFIG_H

#define KCONFIG_ARG_1 0,
#define KCONFIG_SECOND(ignored, value, ...) value
#define KCONFIG_TAKE(arg1_or_junk) KCONFIG_SECOND(arg1_or_junk 1, 0, 0)
#define KCONFIG_PASTE(value) KCONFIG_TAKE(KCONFIG_ARG_##value)
#define IS_ENABLED(option) KCONFIG_PASTE(option)

#endif

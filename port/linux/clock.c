/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and random numbers. */
#define _GNU_SOURCE
#include "port/port.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

#include "base/err.h"

int64_t port_now_ms(void)
{
	struct timespec ts;

	/* BOOTTIME goes on while the device sleeps; MONOTONIC is for kernels without it. */
	if (clock_gettime(CLOCK_BOOTTIME, &ts) && clock_gettime(CLOCK_MONOTONIC, &ts))
		return 0;
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t port_wall_s(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts))
		return 0;
	return (int64_t)ts.tv_sec;
}

int port_random(void *dst, size_t len)
{
	uint8_t *p = dst;

	while (len) {
		/* Without GRND_NONBLOCK a device that has just started could wait here for minutes. */
		ssize_t n = getrandom(p, len, GRND_NONBLOCK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_ENTROPY;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

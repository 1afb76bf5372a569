/* SPDX-License-Identifier: Apache-2.0 */
/* What the system says of this process. */
#include "port/port.h"

#include <unistd.h>

int64_t port_pid(void)
{
	return getpid();
}

uint64_t port_memory_resident(void)
{
	char text[128]; /* seven numbers of pages: size, resident, ... (proc(5), statm) */
	ssize_t n = port_file_read("/proc/self/statm", text, sizeof(text) - 1);
	long page = sysconf(_SC_PAGESIZE);
	uint64_t pages = 0;
	const char *p = text;

	if (n <= 0 || page <= 0)
		return 0;
	text[n] = '\0';
	while (*p && *p != ' ')
		p++;
	for (p += *p == ' '; *p >= '0' && *p <= '9'; p++)
		pages = pages * 10 + (uint64_t)(*p - '0');
	return pages * (uint64_t)page;
}

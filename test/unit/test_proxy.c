/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/proxy.h"

static void test_exempt(void **state)
{
	static const struct {
		const char *list, *host;
		uint16_t port;
		bool is_exempt;
	} cases[] = {
		{"", "etcd", 2379, false},
		{" , ,,\t", "etcd", 2379, false},
		{"*", "etcd", 2379, true},
		{"*", "10.0.0.1", 2379, true},
		{"a,*", "::1", 2379, true},
		{"**", "etcd", 2379, false},
		/* names */
		{"etcd", "etcd", 2379, true},
		{"ETCD", "etcd", 2379, true},
		{"etcd", "Etcd", 2379, true},
		{"etcd", "etcd2", 2379, false},
		{"etcd2", "etcd", 2379, false},
		{"example.com", "example.com", 1, true},
		{"example.com", "a.example.com", 1, true},
		{"example.com", "a.b.Example.Com", 1, true},
		{"example.com", "badexample.com", 1, false},
		{"example.com", "example.com.evil.net", 1, false},
		{".example.com", "example.com", 1, true},
		{".example.com", "a.example.com", 1, true},
		{".example.com", "badexample.com", 1, false},
		{"*.example.com", "a.example.com", 1, true},
		{"*.example.com", "badexample.com", 1, false},
		{"*example.com", "badexample.com", 1, false},
		{"example.com", "example.com.", 1, true},
		{"example.com.", "a.example.com", 1, true},
		{".", "example.com", 1, false},
		{".", "example.com.", 1, false},
		{"*.", "example.com", 1, false},
		{"b, a b\tetcd\n", "etcd", 1, true},
		{"b,etcd,", "etcd", 1, true},
		{"b etcd", "a", 1, false},
		/* ports */
		{"etcd:2379", "etcd", 2379, true},
		{"etcd:2379", "etcd", 2380, false},
		{"etcd:", "etcd", 2379, false},
		{"etcd:x", "etcd", 2379, false},
		{"etcd:002379", "etcd", 2379, false},
		{"etcd:67915", "etcd", 2379, false},
		{":2379", "etcd", 2379, false},
		{".example.com:443", "a.example.com", 443, true},
		{".example.com:443", "a.example.com", 80, false},
		{"10.0.0.1:2379", "10.0.0.1", 2379, true},
		{"10.0.0.1:2379", "10.0.0.1", 2380, false},
		{"[::1]:2379", "::1", 2379, true},
		{"[::1]:2379", "::1", 2380, false},
		/* addresses and networks */
		{"10.0.0.1", "10.0.0.1", 1, true},
		{"10.0.0.1", "10.0.0.10", 1, false},
		{"0.0.1", "10.0.0.1", 1, false},
		{"10.0.0.1", "a.10.0.0.1", 1, true},
		{"::1", "::1", 1, true},
		{"[::1]", "::1", 1, true},
		{"0:0::1", "::1", 1, true},
		{"::1", "::2", 1, false},
		{"FD00::1", "fd00::1", 1, true},
		{"[::1", "::1", 1, false},
		{"[", "::1", 1, false},
		{"[]", "::1", 1, false},
		{"10.0.0.0/8", "10.255.3.1", 1, true},
		{"10.0.0.0/8", "11.0.0.1", 1, false},
		{"10.0.0.0/8", "host.name", 1, false},
		{"10.1.2.3/8", "10.255.3.1", 1, true},
		{"192.168.4.0/22", "192.168.7.255", 1, true},
		{"192.168.4.0/22", "192.168.8.0", 1, false},
		{"192.168.4.0/32", "192.168.4.0", 1, true},
		{"192.168.4.0/32", "192.168.4.1", 1, false},
		{"192.168.4.0/33", "192.168.4.0", 1, false},
		{"192.168.4.0/", "192.168.4.0", 1, false},
		{"/8", "10.0.0.1", 1, false},
		{"0.0.0.0/0", "1.2.3.4", 1, true},
		{"0.0.0.0/0", "::1", 1, false},
		{"::/0", "::1", 1, true},
		{"::/0", "1.2.3.4", 1, false},
		{"fd00::/8", "fdab::1", 1, true},
		{"fd00::/8", "fe80::1", 1, false},
		{"fd00::/7", "fc00::1", 1, true},
		{"fd00::/128", "fd00::", 1, true},
		{"fd00::/129", "fd00::", 1, false},
		{"10.0.0.0/8", "::ffff:10.0.0.1", 1, true},
		{"::ffff:10.0.0.1", "10.0.0.1", 1, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (proxy_is_exempt(cases[i].list, cases[i].host, cases[i].port) !=
			cases[i].is_exempt)
			fail_msg("'%s' with %s:%u is not %d", cases[i].list, cases[i].host,
				(unsigned)cases[i].port, cases[i].is_exempt);
	}
}

static void test_find(void **state)
{
	static const struct proxy one = {PROXY_HTTP, "one", 1, NULL, NULL};
	static const struct proxy two = {PROXY_HTTP, "two", 2, NULL, NULL};
	static const struct proxy three = {PROXY_SOCKS5H, "three", 3, NULL, NULL};
	struct proxy_set set = {0};

	(void)state;
	assert_null(proxy_find(NULL, PROXY_FOR_ETCD, "h", 1));
	assert_null(proxy_find(&set, PROXY_FOR_ETCD, "h", 1));
	set.https = &one;
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_ETCD, "h", 1), &one);
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_HTTPS, "h", 1), &one);
	assert_null(proxy_find(&set, PROXY_FOR_HTTP, "h", 1));
	set.http = &two;
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_ETCD, "h", 1), &one);
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_HTTP, "h", 1), &two);
	/* Loopback is not exempt unless somebody says so. */
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_ETCD, "localhost", 1), &one);
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_ETCD, "127.0.0.1", 1), &one);
	set.no_proxy = "h,127.0.0.0/8";
	assert_null(proxy_find(&set, PROXY_FOR_ETCD, "h", 1));
	assert_null(proxy_find(&set, PROXY_FOR_HTTP, "127.0.0.1", 1));
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_HTTP, "i", 1), &two);
	/* Also for a configured one, which is for everything. */
	set.configured = &three;
	assert_null(proxy_find(&set, PROXY_FOR_ETCD, "h", 1));
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_ETCD, "i", 1), &three);
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_HTTPS, "i", 1), &three);
	assert_ptr_equal(proxy_find(&set, PROXY_FOR_HTTP, "i", 1), &three);
}

static void test_format(void **state)
{
	struct proxy p = {PROXY_HTTP, "10.0.0.1", 3128, "user", "secret"};
	char long_name[256], text[PROXY_TEXT_MAX];

	(void)state;
	assert_string_equal(proxy_format(text, &p), "http://10.0.0.1:3128");
	p = (struct proxy){PROXY_SOCKS5H, "::1", 1080, NULL, NULL};
	assert_string_equal(proxy_format(text, &p), "socks5h://[::1]:1080");
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	p = (struct proxy){PROXY_SOCKS5H, long_name, 65535, NULL, NULL};
	assert_string_equal(strrchr(proxy_format(text, &p), ':'), ":65535");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exempt),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

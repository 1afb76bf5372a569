/* SPDX-License-Identifier: Apache-2.0 */
/* Calls: what they send, how their messages come, how they end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "grpc_client.h"

/* -- requests --------------------------------------------------------------------------------- */

static void a_unary_call_sends_one_message_and_gets_one(void **state)
{
	static const char *const lines[] = {":method: POST", ":scheme: http", ":path: /p.S/Call",
		":authority: 10.0.0.1:2379", "content-type: application/grpc", "te: trailers",
		"grpc-timeout: 7000m"};
	const struct fake_call *call;
	const uint8_t *msg;

	(void)state;
	connect_now();
	assert_int_equal(start(0, true, 7000), 0);
	call = fake_last_call();
	for (size_t i = 0; i < COUNT(lines); i++)
		assert_true(fake_has_header(call, lines[i]));
	assert_non_null(strstr(call->headers, "\nuser-agent: etchlet/"));
	assert_int_equal(call->body_len, 10);
	assert_int_equal(fake_message_of(call, 0, &msg), 5);
	assert_memory_equal(msg, "hello", 5);
	assert_true(call->is_ended);
	fake_answer(call->id, "world", 5);
	fake_run_now(&c.loop);
	expect("0 begin 5\n0 data world\n0 end\n0 done OK\n");
	assert_false(call->is_reset);
	fake_run(&c.loop, ANY_MS);
	expect("");
}

static void a_stream_carries_messages_both_ways(void **state)
{
	const struct fake_call *call;
	const uint8_t *msg;
	uint32_t id;

	(void)state;
	connect_now();
	id = streaming(0);
	call = fake_last_call();
	assert_null(strstr(call->headers, "grpc-timeout"));
	assert_false(call->is_ended);
	fake_headers(id, OK_HEADERS, false);
	fake_message(id, "one", 3);
	fake_run_now(&c.loop);
	assert_int_equal(grpc_call_send(&c.call[0], "more", 4), 0);
	fake_run_now(&c.loop);
	assert_int_equal(grpc_call_send(&c.call[0], "", 0), 0);
	fake_message(id, "two", 3);
	fake_run_now(&c.loop);
	assert_int_equal(fake_message_of(call, 1, &msg), 4);
	assert_memory_equal(msg, "more", 4);
	assert_int_equal(fake_message_of(call, 2, &msg), 0);
	assert_false(call->is_ended);
	fake_trailers(id, 0, "");
	fake_run_now(&c.loop);
	expect("0 begin 3\n0 data one\n0 end\n0 begin 3\n0 data two\n0 end\n0 done OK\n");
	assert_int_equal(grpc_call_send(&c.call[0], "late", 4), ERR_CLOSED);
}

/* Within one read: the rest of a channel that has failed tells of nothing any more. */
static void an_answer_behind_a_failure_is_not_complete(void **state)
{
	static const char why[] = "answer from the server: malformed protobuf message";
	char want[512];

	(void)state;
	connect_now();
	started(0);
	started(1);
	started(2);
	c.end_err = ERR_PROTO;
	fake_answer(1, "x", 1);
	fake_answer(3, "y", 1);
	fake_headers(5, ":status: 503\n", true);
	fake_run_now(&c.loop);
	snprintf(want, sizeof(want),
		"0 begin 1\n0 data x\n0 end\n2 done UNAVAILABLE local: %s\n"
		"1 done UNAVAILABLE local: %s\n0 done UNAVAILABLE local: %s\ndown PROTO: %s\n",
		why, why, why, why);
	expect(want);
}

static void a_secret_is_never_indexed_and_other_metadata_is_plain(void **state)
{
	static const uint8_t secret[] = "\x10\x05token\x03xyz",
			     plain[] = "\x00\x09hasleader\x04true";
	const struct grpc_metadata md[] = {{"token", "xyz", true}, {"hasleader", "true", false}};
	const struct fake_call *call;
	bool has_secret = false, has_plain = false;

	(void)state;
	connect_now();
	assert_int_equal(
		grpc_call_start(&c.ch, &c.call[0], "/p", md, COUNT(md), "", 0, true, 0), 0);
	fake_run_now(&c.loop);
	call = fake_last_call();
	for (size_t i = 0; i + sizeof(plain) - 1 <= call->block_len; i++)
		has_plain |= memcmp(call->block + i, plain, sizeof(plain) - 1) == 0;
	for (size_t i = 0; i + sizeof(secret) - 1 <= call->block_len; i++)
		has_secret |= memcmp(call->block + i, secret, sizeof(secret) - 1) == 0;
	assert_true(has_secret && has_plain);
}

static void what_is_too_long_is_refused_and_the_channel_lives(void **state)
{
	static const char big[CONFIG_GRPC_SEND_BYTES + 1];
	static char value[CONFIG_H2_OUT_BYTES];
	const struct grpc_metadata md = {"token", value, true};

	(void)state;
	connect_now();
	assert_int_equal(
		grpc_call_start(&c.ch, &c.call[0], "/p", NULL, 0, big, sizeof(big), true, 0),
		ERR_LIMIT);
	memset(value, 'x', sizeof(value) - 1);
	assert_int_equal(
		grpc_call_start(&c.ch, &c.call[0], "/p", &md, 1, "", 0, true, 0), ERR_LIMIT);
	assert_false(grpc_call_is_running(&c.call[0]));
	assert_int_equal(fake_net.peer->calls_count, 0);
	streaming(0);
	assert_int_equal(grpc_call_send(&c.call[0], big, sizeof(big)), ERR_LIMIT);
	assert_int_equal(grpc_call_send(&c.call[0], big, sizeof(big) - 1), 0);
	fake_run_now(&c.loop);
	assert_int_equal(fake_last_call()->body_len, 10 + 5 + sizeof(big) - 1);
	expect("");
}

/* -- messages --------------------------------------------------------------------------------- */

static const char three_messages[] = "\0\0\0\0\x05"
				     "first"
				     "\0\0\0\0\0"
				     "\0\0\0\0\x06"
				     "second";
static const char told_three[] = "0 begin 5\n0 data first\n0 end\n0 begin 0\n0 end\n"
				 "0 begin 6\n0 data second\n0 end\n0 done OK\n";

static void any_split_of_an_answer_gives_the_same(void **state)
{
	const size_t len = sizeof(three_messages) - 1;

	(void)state;
	for (size_t frame = 1; frame <= len; frame++) {
		for (size_t split = 0; split <= 3; split++) {
			uint32_t id;

			connect_now();
			id = started(0);
			fake_net.split = split;
			fake_headers(id, OK_HEADERS, false);
			for (size_t at = 0; at < len; at += frame)
				fake_data(id, three_messages + at,
					len - at < frame ? len - at : frame, false);
			fake_data(id, "", 0, false);
			fake_trailers(id, 0, "");
			fake_run_now(&c.loop);
			expect(told_three);
		}
	}
}

static void a_sink_that_takes_any_part_gets_the_same(void **state)
{
	(void)state;
	for (size_t part = 0; part <= 6; part++) {
		for (unsigned again = 0; again <= 2; again++) {
			uint32_t id;

			connect_now();
			id = started(0);
			fake_headers(id, OK_HEADERS, false);
			fake_data(id, three_messages, sizeof(three_messages) - 1, false);
			fake_trailers(id, 0, "");
			c.take[0] = part;
			c.end_again[0] = again;
			fake_run_now(&c.loop);
			assert_true(grpc_call_is_running(&c.call[0]) || (part == 6 && !again));
			for (int i = 0; i < 60 && grpc_call_is_running(&c.call[0]); i++) {
				c.take[0] = i % 3 ? part : 1;
				grpc_call_resume(&c.call[0]);
			}
			fake_run_now(&c.loop);
			expect(told_three);
		}
	}
}

static void an_end_that_is_not_taken_holds_back_done(void **state)
{
	uint32_t id;

	(void)state;
	connect_now();
	id = started(0);
	c.end_again[0] = 3;
	fake_answer(id, "x", 1);
	fake_run(&c.loop, KEEPALIVE_MS / 2);
	expect("0 begin 1\n0 data x\n");
	grpc_call_resume(&c.call[0]);
	grpc_call_resume(&c.call[0]);
	expect("");
	grpc_call_resume(&c.call[0]);
	expect("0 end\n0 done OK\n");
	grpc_call_resume(&c.call[0]);
	expect("");
}

static void an_end_is_asked_for_again_only_by_resume(void **state)
{
	uint32_t id;

	(void)state;
	connect_now();
	id = streaming(0);
	c.end_again[0] = 5;
	fake_headers(id, OK_HEADERS, false);
	for (int i = 0; i < 3; i++) {
		fake_message(id, "x", 1);
		fake_run_now(&c.loop);
	}
	assert_int_equal(c.end_again[0], 4);
	expect("0 begin 1\n0 data x\n");
	c.end_again[0] = 0;
	grpc_call_resume(&c.call[0]);
	expect("0 end\n0 begin 1\n0 data x\n0 end\n0 begin 1\n0 data x\n0 end\n");
}

static void a_busy_call_holds_up_no_other(void **state)
{
	static const char fill[CONFIG_H2_WINDOW_BYTES - 5];
	uint32_t busy, other;

	(void)state;
	connect_now();
	busy = started(0);
	other = started(1);
	c.take[0] = 0;
	fake_headers(busy, OK_HEADERS, false);
	fake_message(busy, fill, sizeof(fill));
	fake_answer(other, "x", 1);
	fake_run_now(&c.loop);
	expect("0 begin 16379\n1 begin 1\n1 data x\n1 end\n1 done OK\n");
	/* Its window is closed, for nothing was taken, and opens as something is. */
	assert_int_equal(fake_call_of(fake_net.peer, busy)->window, 0);
	c.take[0] = sizeof(fill);
	grpc_call_resume(&c.call[0]);
	fake_run_now(&c.loop);
	assert_true(fake_call_of(fake_net.peer, busy)->window >= CONFIG_H2_WINDOW_BYTES / 2);
}

static void a_compressed_message_ends_the_channel(void **state)
{
	uint32_t id;

	(void)state;
	connect_now();
	id = started(0);
	fake_headers(id, OK_HEADERS, false);
	fake_data(id, "\1\0\0\0\1x", 6, false);
	fake_run_now(&c.loop);
	expect("0 done UNAVAILABLE local: a compressed message that was not asked for\n"
	       "down GRPC: a compressed message that was not asked for\n");
}

static void an_error_of_the_owner_ends_the_channel_with_it(void **state)
{
	int *const which[] = {&c.begin_err, &c.data_err, &c.end_err};
	static const char *const want[] = {
		"0 begin 1\n0 done UNAVAILABLE local: answer from the server: malformed protobuf message\n"
		"down PROTO: answer from the server: malformed protobuf message\n",
		"0 begin 1\n0 done UNAVAILABLE local: answer from the server: malformed protobuf message\n"
		"down PROTO: answer from the server: malformed protobuf message\n",
		"0 begin 1\n0 data x\n0 end\n"
		"0 done UNAVAILABLE local: answer from the server: malformed protobuf message\n"
		"down PROTO: answer from the server: malformed protobuf message\n",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(which); i++) {
		connect_now();
		started(0);
		*which[i] = ERR_PROTO;
		fake_answer(1, "x", 1);
		fake_run_now(&c.loop);
		expect(want[i]);
	}
}

/* -- how a call ends -------------------------------------------------------------------------- */

static void the_status_comes_from_wherever_the_server_put_it(void **state)
{
	static const struct {
		const char *headers; /* NULL: they end the stream by themselves */
		const char *data;
		size_t data_len;
		const char *trailers; /* NULL: DATA ends the stream */
		const char *want;
	} rows[] = {
		/* trailers-only, as grpc-go writes it */
		{NULL, NULL, 0, OK_HEADERS "grpc-status: 7\ngrpc-message: no\n",
			"0 done PERMISSION_DENIED: no\n"},
		{NULL, NULL, 0, ":status: 200\ngrpc-status: 0\n", "0 done OK\n"},
		/* headers, then trailers, as Go's net/http writes it */
		{OK_HEADERS "trailer: Grpc-Status\n", NULL, 0, "grpc-status: 14\ngrpc-message: x\n",
			"0 done UNAVAILABLE: x\n"},
		{":status: 200\ncontent-type: application/grpc+proto\n", NULL, 0,
			"grpc-status: 5\n", "0 done NOT_FOUND\n"},
		{":status: 200\ncontent-type: application/grpc; charset=x\n", NULL, 0,
			"grpc-status: 5\n", "0 done NOT_FOUND\n"},
		/* a status counts even with a HTTP status that is none of gRPC's */
		{NULL, NULL, 0, ":status: 503\ngrpc-status: 8\n", "0 done RESOURCE_EXHAUSTED\n"},
		/* proxies */
		{NULL, NULL, 0, ":status: 400\n",
			"0 done INTERNAL local: HTTP status 400 instead of gRPC\n"},
		{NULL, NULL, 0, ":status: 431\n",
			"0 done INTERNAL local: HTTP status 431 instead of gRPC\n"},
		{NULL, NULL, 0, ":status: 401\n",
			"0 done UNAUTHENTICATED local: HTTP status 401 instead of gRPC\n"},
		{NULL, NULL, 0, ":status: 403\n",
			"0 done PERMISSION_DENIED local: HTTP status 403 instead of gRPC\n"},
		{NULL, NULL, 0, ":status: 404\n",
			"0 done UNIMPLEMENTED local: HTTP status 404 instead of gRPC\n"},
		{NULL, NULL, 0, ":status: 429\n",
			"0 done UNAVAILABLE local: HTTP status 429 instead of gRPC\n"},
		{":status: 502\ncontent-type: text/html\n", "<html>", 6, NULL,
			"0 done UNAVAILABLE local: HTTP status 502 instead of gRPC\n"},
		{NULL, NULL, 0, ":status: 503\n",
			"0 done UNAVAILABLE local: HTTP status 503 instead of gRPC\n"},
		{NULL, NULL, 0, ":status: 504\n",
			"0 done UNAVAILABLE local: HTTP status 504 instead of gRPC\n"},
		{NULL, NULL, 0, ":status: 500\n",
			"0 done UNKNOWN local: HTTP status 500 instead of gRPC\n"},
		{NULL, NULL, 0, ":status: 302\n",
			"0 done UNKNOWN local: HTTP status 302 instead of gRPC\n"},
		{":status: 200\ncontent-type: text/html\n", "<html>", 6, NULL,
			"0 done UNKNOWN local: the answer is not gRPC (content-type)\n"},
		{":status: 200\ncontent-type: application/grpc-web\n", "x", 1, NULL,
			"0 done UNKNOWN local: the answer is not gRPC (content-type)\n"},
		{":status: 200\n", "x", 1, NULL,
			"0 done UNKNOWN local: the answer is not gRPC (content-type)\n"},
		/* no status at all */
		{OK_HEADERS, "", 0, NULL,
			"0 done UNKNOWN local: the answer ended without grpc-status\n"},
		{OK_HEADERS, NULL, 0, "grpc-message: x\n",
			"0 done UNKNOWN local: the answer ended without grpc-status\n"},
		{NULL, NULL, 0, OK_HEADERS,
			"0 done UNKNOWN local: the answer ended without grpc-status\n"},
		/* inside a message */
		{OK_HEADERS, "\0\0\0\0\2x", 6, "grpc-status: 0\n",
			"0 begin 2\n0 data x\n0 done INTERNAL local: the answer ended inside a message\n"},
		{OK_HEADERS, "\0\0\0\0\2", 5, NULL,
			"0 begin 2\n0 done INTERNAL local: the answer ended inside a message\n"},
		{OK_HEADERS, "\0\0", 2, "grpc-status: 0\n",
			"0 done INTERNAL local: the answer ended inside a message\n"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint32_t id;

		connect_now();
		id = started(0);
		if (rows[i].headers)
			fake_headers(id, rows[i].headers, false);
		if (rows[i].data)
			fake_data(id, rows[i].data, rows[i].data_len, !rows[i].trailers);
		if (rows[i].trailers)
			fake_headers(id, rows[i].trailers, true);
		fake_run_now(&c.loop);
		expect(rows[i].want);
		assert_true(c.ch.is_up);
	}
}

static void a_status_that_is_no_status_is_unknown(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} rows[] = {
		{"0", "OK"},
		{"16", "UNAUTHENTICATED"},
		{"17", "UNKNOWN"},
		{"99", "UNKNOWN"},
		{"-1", "UNKNOWN"},
		{"x", "UNKNOWN"},
		{"1x", "UNKNOWN"},
		{"", "UNKNOWN"},
		{"007", "PERMISSION_DENIED"},
		{"256", "UNKNOWN"},
		{"4294967296", "UNKNOWN"},
		{"18446744073709551616", "UNKNOWN"},
	};
	char lines[128], want[64];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		connect_now();
		started(0);
		snprintf(lines, sizeof(lines), OK_HEADERS "grpc-status: %s\n", rows[i].text);
		fake_headers(1, lines, true);
		fake_run_now(&c.loop);
		snprintf(want, sizeof(want), "0 done %s\n", rows[i].want);
		expect(want);
	}
}

static void a_message_is_decoded_and_wrong_escapes_stand_for_themselves(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} rows[] = {
		{"a%20b", "a b"},
		{"%e4%BD%A0", "\xe4\xbd\xa0"},
		{"50%", "50%"},
		{"%2", "%2"},
		{"%zz%41", "%zzA"},
		{"%4", "%4"},
		{"%%41", "%A"},
		{"%25%32%35", "%25"},
		{"%0A%00", "\\x0A\\x00"},
	};
	char want[128], full[GRPC_MESSAGE_MAX + 100];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		connect_now();
		started(0);
		fake_refusal(1, 2, rows[i].text);
		fake_run_now(&c.loop);
		snprintf(want, sizeof(want), "0 done UNKNOWN: %s\n", rows[i].want);
		expect(want);
	}
	/* The field before it is as long and ends in digits: an escape that is cut short ends here. */
	connect_now();
	started(0);
	fake_headers(
		1, OK_HEADERS "grpc-status: 2\nx-fill-field: %4AAAA\ngrpc-message: %4\n", true);
	fake_run_now(&c.loop);
	expect("0 done UNKNOWN: %4\n");
	connect_now();
	started(0);
	memset(full, 'm', sizeof(full) - 1);
	full[sizeof(full) - 1] = '\0';
	fake_refusal(1, 2, full);
	fake_run_now(&c.loop);
	assert_int_equal(c.call[0].message_len, GRPC_MESSAGE_MAX);
}

static void a_reset_is_told_by_its_code(void **state)
{
	static const struct {
		uint32_t code;
		const char *want;
	} rows[] = {
		{0, "INTERNAL local: stream reset by the server: NO_ERROR"},
		{1, "INTERNAL local: stream reset by the server: PROTOCOL_ERROR"},
		{2, "INTERNAL local: stream reset by the server: INTERNAL_ERROR"},
		{7, "UNAVAILABLE local: the server did not take the call"},
		{8, "CANCELLED local: stream reset by the server: CANCEL"},
		{11, "RESOURCE_EXHAUSTED local: stream reset by the server: ENHANCE_YOUR_CALM"},
		{12, "PERMISSION_DENIED local: stream reset by the server: INADEQUATE_SECURITY"},
		{99, "INTERNAL local: stream reset by the server: UNKNOWN"},
	};
	char want[128];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		connect_now();
		started(0);
		started(1);
		fake_reset(1, rows[i].code);
		fake_answer(3, "x", 1);
		fake_run_now(&c.loop);
		snprintf(want, sizeof(want), "0 done %s\n1 begin 1\n1 data x\n1 end\n1 done OK\n",
			rows[i].want);
		expect(want);
	}
}

/* RFC 9113 8.1: a server that needs no more of the request ends its answer, then says so. */
static void a_reset_behind_the_answer_changes_nothing(void **state)
{
	(void)state;
	connect_now();
	streaming(0);
	c.end_again[0] = 1;
	c.take[0] = 0;
	fake_answer(1, "x", 1);
	fake_reset(1, 0);
	fake_run_now(&c.loop);
	/* Whoever still wants to send learns that it is over, and no other call is hurt. */
	assert_int_equal(grpc_call_send(&c.call[0], "late", 4), ERR_CLOSED);
	c.take[0] = 1;
	grpc_call_resume(&c.call[0]);
	fake_run_now(&c.loop);
	assert_int_equal(grpc_call_send(&c.call[0], "late", 4), ERR_CLOSED);
	grpc_call_resume(&c.call[0]);
	fake_run_now(&c.loop);
	expect("0 begin 1\n0 data x\n0 end\n0 done OK\n");
	assert_true(c.ch.is_up);
}

static void a_message_that_the_server_did_not_wait_for_is_dropped(void **state)
{
	(void)state;
	connect_with(FAKE_INITIAL_WINDOW, 3);
	started(0);
	assert_int_equal(fake_last_call()->body_len, 3);
	c.end_again[0] = 1;
	fake_answer(1, "x", 1);
	fake_run_now(&c.loop);
	fake_window_update(0, 100);
	fake_run_now(&c.loop);
	expect("0 begin 1\n0 data x\n");
	assert_true(c.ch.is_up);
	grpc_call_resume(&c.call[0]);
	expect("0 end\n0 done OK\n");
	fake_run_now(&c.loop);
	started(1);
}

static void a_deadline_is_met_to_the_millisecond(void **state)
{
	(void)state;
	connect_now();
	assert_int_equal(start(0, true, 5000), 0);
	started(1);
	fake_run(&c.loop, 4999);
	expect("");
	fake_run(&c.loop, 1);
	expect("0 done DEADLINE_EXCEEDED local: no answer in time\n");
	assert_true(fake_call_of(fake_net.peer, 1)->is_reset);
	assert_int_equal(fake_call_of(fake_net.peer, 1)->reset_code, H2_CANCEL);
	/* What still comes for it is nobody's. */
	fake_answer(1, "x", 1);
	fake_answer(3, "y", 1);
	fake_run_now(&c.loop);
	expect("1 begin 1\n1 data y\n1 end\n1 done OK\n");
}

static void a_deadline_ends_with_its_call(void **state)
{
	(void)state;
	connect_now();
	assert_int_equal(start(0, true, 5000), 0);
	fake_answer(1, "", 0);
	fake_run_now(&c.loop);
	expect("0 begin 0\n0 end\n0 done OK\n");
	fake_run(&c.loop, 4000);
	assert_int_equal(start(0, true, 5000), 0);
	fake_run(&c.loop, 4999);
	expect("");
	fake_run(&c.loop, 1);
	expect("0 done DEADLINE_EXCEEDED local: no answer in time\n");
}

static void a_call_that_is_cancelled_is_not_told_of_again(void **state)
{
	(void)state;
	connect_now();
	started(0);
	fake_headers(1, OK_HEADERS, false);
	fake_data(1, "\0\0\0\0\2x", 6, false);
	fake_run_now(&c.loop);
	expect("0 begin 2\n0 data x\n");
	grpc_call_cancel(&c.call[0]);
	grpc_call_cancel(&c.call[0]);
	assert_false(grpc_call_is_running(&c.call[0]));
	fake_data(1, "y", 1, false);
	fake_trailers(1, 0, "");
	fake_run_now(&c.loop);
	expect("");
	assert_int_equal(fake_call_of(fake_net.peer, 1)->reset_code, H2_CANCEL);
	/* Its memory serves the next one, which begins clean. */
	assert_int_equal(started(0), 3);
	fake_answer(3, "z", 1);
	fake_run_now(&c.loop);
	expect("0 begin 1\n0 data z\n0 end\n0 done OK\n");
}

static void start_again(void)
{
	assert_int_equal(grpc_call_start(&c.ch, &c.call[0], "/again", NULL, 0, "", 0, true, 0), 0);
}

static void a_call_may_begin_anew_in_its_own_done(void **state)
{
	(void)state;
	connect_now();
	started(0);
	c.in_done = start_again;
	fake_refusal(1, 14, "busy");
	fake_run_now(&c.loop);
	expect("0 done UNAVAILABLE: busy\n");
	assert_true(fake_has_path(fake_last_call(), "/again"));
	fake_answer(3, "x", 1);
	fake_run_now(&c.loop);
	expect("0 begin 1\n0 data x\n0 end\n0 done OK\n");
	/* Nothing of its status, or of its headers, is left. */
	start_again();
	fake_run_now(&c.loop);
	fake_headers(5, OK_HEADERS, true);
	fake_run_now(&c.loop);
	expect("0 done UNKNOWN local: the answer ended without grpc-status\n");
	start_again();
	fake_run_now(&c.loop);
	fake_headers(7, ":status: 200\n", false);
	fake_run_now(&c.loop);
	expect("0 done UNKNOWN local: the answer is not gRPC (content-type)\n");
}

static void close_one_call(void)
{
	line("cancel\n");
	grpc_call_cancel(&c.call[0]);
}

static void cancelling_is_safe_within_any_callback(void **state)
{
	void (**const hooks[])(void) = {&c.in_begin, &c.in_data, &c.in_end};

	(void)state;
	for (size_t i = 0; i < COUNT(hooks); i++) {
		const char *after;

		connect_now();
		started(0);
		started(1);
		*hooks[i] = close_one_call;
		fake_headers(1, OK_HEADERS, false);
		fake_data(1, three_messages, sizeof(three_messages) - 1, false);
		fake_trailers(1, 0, "");
		fake_answer(3, "y", 1);
		fake_run_now(&c.loop);
		after = strstr(c.log, "cancel\n");
		assert_non_null(after);
		assert_string_equal(
			after + strlen("cancel\n"), "1 begin 1\n1 data y\n1 end\n1 done OK\n");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_unary_call_sends_one_message_and_gets_one),
		cmocka_unit_test(a_stream_carries_messages_both_ways),
		cmocka_unit_test(an_answer_behind_a_failure_is_not_complete),
		cmocka_unit_test(a_secret_is_never_indexed_and_other_metadata_is_plain),
		cmocka_unit_test(what_is_too_long_is_refused_and_the_channel_lives),
		cmocka_unit_test(any_split_of_an_answer_gives_the_same),
		cmocka_unit_test(a_sink_that_takes_any_part_gets_the_same),
		cmocka_unit_test(an_end_that_is_not_taken_holds_back_done),
		cmocka_unit_test(an_end_is_asked_for_again_only_by_resume),
		cmocka_unit_test(a_busy_call_holds_up_no_other),
		cmocka_unit_test(a_compressed_message_ends_the_channel),
		cmocka_unit_test(an_error_of_the_owner_ends_the_channel_with_it),
		cmocka_unit_test(the_status_comes_from_wherever_the_server_put_it),
		cmocka_unit_test(a_status_that_is_no_status_is_unknown),
		cmocka_unit_test(a_message_is_decoded_and_wrong_escapes_stand_for_themselves),
		cmocka_unit_test(a_reset_is_told_by_its_code),
		cmocka_unit_test(a_reset_behind_the_answer_changes_nothing),
		cmocka_unit_test(a_message_that_the_server_did_not_wait_for_is_dropped),
		cmocka_unit_test(a_deadline_is_met_to_the_millisecond),
		cmocka_unit_test(a_deadline_ends_with_its_call),
		cmocka_unit_test(a_call_that_is_cancelled_is_not_told_of_again),
		cmocka_unit_test(a_call_may_begin_anew_in_its_own_done),
		cmocka_unit_test(cancelling_is_safe_within_any_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

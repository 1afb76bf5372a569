/* SPDX-License-Identifier: Apache-2.0 */
/* The channel: waiting for room, its deadlines, its end, and closing it within any callback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "grpc_client.h"

/* -- not now ---------------------------------------------------------------------------------- */

static void a_call_waits_for_a_stream(void **state)
{
	(void)state;
	connect_with(FAKE_MAX_STREAMS, 1);
	assert_int_equal(grpc_channel_max_calls(&c.ch), 1);
	started(0);
	assert_int_equal(start(1, true, 0), ERR_AGAIN);
	assert_false(grpc_call_is_running(&c.call[1]));
	c.writables = 0;
	fake_answer(1, "", 0);
	fake_run_now(&c.loop);
	assert_true(c.writables > 0);
	assert_int_equal(started(1), 3);
}

static void who_waits_is_told_though_another_was_refused(void **state)
{
	static char value[CONFIG_H2_OUT_BYTES];
	const struct grpc_metadata md = {"token", value, true};

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	connect_with(FAKE_INITIAL_WINDOW, 0);
	streaming(0);
	assert_int_equal(start(1, true, 0), ERR_AGAIN);
	fake_settings(FAKE_MAX_HEADER_LIST, 1000);
	fake_run_now(&c.loop);
	grpc_call_cancel(&c.call[0]);
	c.writables = 0;
	assert_int_equal(
		grpc_call_start(&c.ch, &c.call[2], "/p", &md, 1, "", 0, true, 0), ERR_LIMIT);
	fake_run_now(&c.loop);
	assert_true(c.writables > 0);
}

static void a_message_trickles_through_a_tiny_window(void **state)
{
	const struct fake_call *call;
	const uint8_t *msg;

	(void)state;
	connect_with(FAKE_INITIAL_WINDOW, 1);
	streaming(0);
	call = fake_last_call();
	assert_int_equal(call->body_len, 1);
	/* There is one send buffer: whoever comes now waits. */
	assert_int_equal(grpc_call_send(&c.call[0], "two", 3), ERR_AGAIN);
	assert_int_equal(start(1, true, 0), ERR_AGAIN);
	c.writables = 0;
	for (size_t i = 2; i <= 10; i++) {
		assert_int_equal(c.writables, 0);
		fake_window_update(1, 1);
		fake_run_now(&c.loop);
		assert_int_equal(call->body_len, i);
	}
	assert_true(c.writables > 0);
	assert_int_equal(fake_message_of(call, 0, &msg), 5);
	assert_memory_equal(msg, "hello", 5);
	assert_int_equal(grpc_call_send(&c.call[0], "two", 3), 0);
	fake_window_update(1, 8);
	fake_run_now(&c.loop);
	assert_int_equal(fake_message_of(call, 1, &msg), 3);
	expect("");
}

static void a_socket_that_takes_little_gets_it_all(void **state)
{
	static const char big[CONFIG_GRPC_SEND_BYTES];
	const uint8_t *msg;

	(void)state;
	connect_now();
	streaming(0);
	fake_net.send_room = 0;
	assert_int_equal(grpc_call_send(&c.call[0], big, sizeof(big)), 0);
	for (int i = 0; i < 1000 && fake_last_call()->body_len < 10 + 5 + sizeof(big); i++) {
		fake_net.send_room = 100;
		fake_run_now(&c.loop);
	}
	assert_int_equal(fake_message_of(fake_last_call(), 1, &msg), sizeof(big));
	expect("");
}

/* -- the channel's own deadlines -------------------------------------------------------------- */

static void a_server_that_never_says_settings_is_given_up(void **state)
{
	(void)state;
	set_up();
	dial();
	assert_int_equal(start(0, true, 0), ERR_GOAWAY);
	fake_run(&c.loop, SETTINGS_MS - 1);
	expect("");
	fake_run(&c.loop, 1);
	expect("down TIMEOUT: no HTTP/2 SETTINGS from the server within 3000 ms\n");
	assert_true(fake_net.peer->is_closed);
}

static void settings_end_their_own_deadline(void **state)
{
	(void)state;
	connect_now();
	assert_int_equal(fake_net.peer->settings_acks, 1);
	fake_run(&c.loop, 10 * SETTINGS_MS);
	expect("");
	/* Later ones are no second beginning. */
	fake_settings(FAKE_MAX_STREAMS, 7);
	fake_run_now(&c.loop);
	expect("");
	assert_int_equal(grpc_channel_max_calls(&c.ch), 7);
}

static void no_ping_is_sent_without_a_call(void **state)
{
	(void)state;
	connect_now();
	fake_run(&c.loop, 10 * KEEPALIVE_MS);
	assert_int_equal(fake_net.peer->pings, 0);
	/* The time without a call does not count for the first one. */
	started(0);
	fake_run(&c.loop, KEEPALIVE_MS - 1);
	assert_int_equal(fake_net.peer->pings, 0);
	fake_run(&c.loop, 1 + SLACK_MS);
	assert_int_equal(fake_net.peer->pings, 1);
	fake_pong();
	fake_answer(1, "", 0);
	fake_run_now(&c.loop);
	fake_run(&c.loop, 10 * KEEPALIVE_MS);
	assert_int_equal(fake_net.peer->pings, 1);
	expect("0 begin 0\n0 end\n0 done OK\n");
}

static void a_ping_that_is_not_answered_ends_the_channel(void **state)
{
	(void)state;
	connect_now();
	started(0);
	fake_run(&c.loop, KEEPALIVE_MS + SLACK_MS);
	assert_int_equal(fake_net.peer->pings, 1);
	fake_run(&c.loop, KEEPALIVE_TIMEOUT_MS - SLACK_MS - 1);
	expect("");
	fake_run(&c.loop, SLACK_MS + 1);
	expect("0 done UNAVAILABLE local: no answer to a PING within 6000 ms\n"
	       "down TIMEOUT: no answer to a PING within 6000 ms\n");
	fake_run(&c.loop, ANY_MS);
	expect("");
}

static void an_answered_ping_is_followed_by_the_next(void **state)
{
	(void)state;
	connect_now();
	streaming(0);
	for (unsigned i = 1; i <= 5; i++) {
		fake_run(&c.loop, KEEPALIVE_MS + SLACK_MS);
		assert_int_equal(fake_net.peer->pings, i);
		fake_pong();
		fake_run_now(&c.loop);
		/* Only one: it is not sent again before the time. */
		fake_run(&c.loop, KEEPALIVE_MS - SLACK_MS - 1);
		assert_int_equal(fake_net.peer->pings, i);
		fake_frame(FAKE_PING, 0, 0, "pingpong", 8);
		fake_run_now(&c.loop);
		assert_int_equal(fake_net.peer->pongs, i);
	}
	expect("");
}

/* gRPC proposal A8: it need not be the answer to the PING. */
static void any_byte_counts_as_life(void **state)
{
	(void)state;
	connect_now();
	streaming(0);
	for (int i = 0; i < 5; i++) {
		fake_run(&c.loop, KEEPALIVE_MS - 1);
		fake_window_update(0, 1);
		fake_run_now(&c.loop);
	}
	assert_int_equal(fake_net.peer->pings, 0);
	fake_run(&c.loop, KEEPALIVE_MS + SLACK_MS);
	assert_int_equal(fake_net.peer->pings, 1);
	/* The PING stays without an answer, but half a frame comes. */
	fake_say("\0\0", 2);
	fake_run_now(&c.loop);
	fake_run(&c.loop, KEEPALIVE_MS + SLACK_MS);
	expect("");
	fake_run(&c.loop, KEEPALIVE_TIMEOUT_MS);
	expect("0 done UNAVAILABLE local: no answer to a PING within 6000 ms\n"
	       "down TIMEOUT: no answer to a PING within 6000 ms\n");
}

static void too_many_pings_doubles_the_interval_for_good(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	connect_now();
	assert_int_equal(grpc_channel_keepalive_ms(&c.ch), KEEPALIVE_MS);
	/* Neither the code nor the text alone. */
	fake_goaway(INT32_MAX, H2_ENHANCE_YOUR_CALM, "calm");
	fake_goaway(INT32_MAX, H2_ENHANCE_YOUR_CALM, "too_many_calls");
	fake_goaway(INT32_MAX, H2_NO_ERROR, "too_many_pings");
	fake_run_now(&c.loop);
	assert_int_equal(grpc_channel_keepalive_ms(&c.ch), KEEPALIVE_MS);
	for (int64_t i = 1; i <= 10; i++) {
		fake_goaway(INT32_MAX, H2_ENHANCE_YOUR_CALM, "too_many_pings");
		fake_run_now(&c.loop);
		assert_int_equal(grpc_channel_keepalive_ms(&c.ch),
			KEEPALIVE_MS * (INT64_C(1) << (i < 6 ? i : 6)));
		grpc_channel_close(&c.ch);
		dial();
		fake_settings(0, 0);
		fake_run_now(&c.loop);
	}
	started(0);
	fake_run(&c.loop, 64 * KEEPALIVE_MS - 1);
	assert_int_equal(fake_net.peer->pings, 0);
	fake_run(&c.loop, KEEPALIVE_TIMEOUT_MS);
	assert_int_equal(fake_net.peer->pings, 1);
	log_set_level(LOG_LEVEL_INFO);
}

/* -- the end of a channel --------------------------------------------------------------------- */

static void a_graceful_goaway_lets_calls_finish(void **state)
{
	(void)state;
	connect_now();
	started(0);
	started(1);
	fake_goaway(INT32_MAX, H2_NO_ERROR, "bye\n");
	fake_run_now(&c.loop);
	expect("going away: GOAWAY NO_ERROR: bye\\x0A\n");
	assert_int_equal(start(2, true, 0), ERR_GOAWAY);
	/* The second step: the call above the last stream was not looked at. */
	fake_goaway(1, H2_NO_ERROR, "");
	fake_run_now(&c.loop);
	expect("1 done UNAVAILABLE local: the server did not take the call\n"
	       "going away: GOAWAY NO_ERROR\n");
	fake_answer(1, "x", 1);
	fake_run_now(&c.loop);
	expect("0 begin 1\n0 data x\n0 end\n0 done OK\n");
	fake_hang_up(ERR_CLOSED);
	fake_run_now(&c.loop);
	expect("down CLOSED: connection closed by the peer\n");
}

static void a_lost_connection_ends_all_calls_before_it_is_told(void **state)
{
	static const struct {
		int err;
		const char *text;
	} rows[] = {
		{ERR_CLOSED, "CLOSED: connection closed by the peer"},
		{ERR_RESET, "RESET: connection reset by the peer"},
	};
	char want[512];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *why = strstr(rows[i].text, ": ") + 2;

		connect_now();
		assert_int_equal(start(0, true, 5000), 0);
		started(1);
		fake_headers(3, OK_HEADERS, false);
		fake_data(3, "\0\0\0\0\2x", 6, false);
		fake_hang_up(rows[i].err);
		fake_run_now(&c.loop);
		snprintf(want, sizeof(want),
			"1 begin 2\n1 data x\n1 done UNAVAILABLE local: %s\n"
			"0 done UNAVAILABLE local: %s\ndown %s\n",
			why, why, rows[i].text);
		expect(want);
		assert_int_equal(start(0, true, 0), ERR_GOAWAY);
		assert_int_equal(grpc_call_send(&c.call[1], "x", 1), ERR_CLOSED);
		fake_run(&c.loop, ANY_MS);
		expect("");
	}
	connect_now();
	streaming(0);
	fake_net.send_err = ERR_RESET;
	assert_int_equal(grpc_call_send(&c.call[0], "x", 1), 0);
	fake_run_now(&c.loop);
	expect("0 done UNAVAILABLE local: connection reset by the peer\n"
	       "down RESET: connection reset by the peer\n");
}

static void a_connection_that_fails_is_told(void **state)
{
	(void)state;
	set_up();
	fake_net.connect_err = ERR_REFUSED;
	dial();
	expect("down REFUSED: connection refused\n");
	set_up();
	fake_net.is_silent = true;
	dial();
	fake_run(&c.loop, DIAL_MS - 1);
	expect("");
	fake_run(&c.loop, 1);
	expect("down TIMEOUT: no answer within 5000 ms\n");
}

static void a_violation_is_answered_by_goaway_and_told(void **state)
{
	(void)state;
	connect_now();
	started(0);
	fake_frame(FAKE_DATA, 0, 0, "x", 1);
	fake_run_now(&c.loop);
	expect("0 done UNAVAILABLE local: the server broke HTTP/2: frame on a stream that was not "
	       "opened (PROTOCOL_ERROR)\n"
	       "down HTTP2: the server broke HTTP/2: frame on a stream that was not opened "
	       "(PROTOCOL_ERROR)\n");
	assert_int_equal(fake_net.peer->goaways, 1);
	assert_int_equal(fake_net.peer->goaway_code, H2_PROTOCOL_ERROR);
}

static void closing_says_goodbye_and_ends_calls(void **state)
{
	(void)state;
	connect_now();
	started(0);
	grpc_channel_close(&c.ch);
	expect("0 done UNAVAILABLE local: closed here\n");
	assert_int_equal(fake_net.peer->goaways, 1);
	assert_int_equal(fake_net.peer->goaway_code, H2_NO_ERROR);
	assert_true(fake_net.peer->is_closed);
	grpc_channel_close(&c.ch);
	fake_run(&c.loop, ANY_MS);
	expect("");
	assert_null(c.loop.fds);
	assert_null(c.loop.timers);
}

static void close_it(void)
{
	line("close\n");
	grpc_channel_close(&c.ch);
}

static void open_it(void)
{
	grpc_channel_open(&c.ch, &c.cfg);
}

static void reopen_it(void)
{
	close_it();
	open_it();
}

/* What is told until the channel is closed within this callback; then the other call's end alone. */
static void closing_is_safe_within_any_callback(void **state)
{
	static const char ended[] = "1 done UNAVAILABLE local: closed here\n";
	void (**const hooks[])(void) = {
		&c.in_begin, &c.in_data, &c.in_end, &c.in_done, &c.in_going_away};
	void (*const acts[])(void) = {close_it, reopen_it};

	(void)state;
	for (size_t i = 0; i < COUNT(hooks); i++) {
		for (size_t act = 0; act < COUNT(acts); act++) {
			const char *after;

			connect_now();
			started(0);
			started(1);
			*hooks[i] = acts[act];
			fake_answer(1, "x", 1);
			fake_goaway(INT32_MAX, H2_NO_ERROR, "");
			fake_answer(3, "y", 1);
			fake_run_now(&c.loop);
			after = strstr(c.log, "close\n");
			assert_non_null(after);
			after += strlen("close\n");
			if (i < 3) {
				assert_memory_equal(after, ended, strlen(ended));
				after += strlen(ended);
				assert_string_equal(
					after, "0 done UNAVAILABLE local: closed here\n");
			} else {
				assert_string_equal(after, ended);
			}
			assert_int_equal(fake_net.dials, act + 1);
			if (act) {
				c.len = 0;
				fake_settings(0, 0);
				fake_run_now(&c.loop);
				expect("up\n");
				assert_int_equal(started(0), 1);
			}
		}
	}
}

static void closing_is_safe_where_the_channel_tells_of_itself(void **state)
{
	(void)state;
	set_up();
	c.in_up = close_it;
	dial();
	fake_settings(0, 0);
	fake_run_now(&c.loop);
	fake_run(&c.loop, ANY_MS);
	expect("up\nclose\n");
	assert_true(fake_net.peer->is_closed);

	connect_with(FAKE_MAX_STREAMS, 1);
	started(0);
	assert_int_equal(start(1, true, 0), ERR_AGAIN);
	c.in_writable = close_it;
	fake_settings(FAKE_MAX_STREAMS, 2);
	fake_run_now(&c.loop);
	expect("close\n0 done UNAVAILABLE local: closed here\n");

	connect_now();
	started(0);
	c.in_down = open_it;
	fake_hang_up(ERR_RESET);
	fake_run_now(&c.loop);
	assert_int_equal(fake_net.dials, 2);
	fake_settings(0, 0);
	fake_run_now(&c.loop);
	expect("0 done UNAVAILABLE local: connection reset by the peer\n"
	       "down RESET: connection reset by the peer\nup\n");
	assert_int_equal(started(0), 1);

	connect_now();
	assert_int_equal(start(0, true, 1000), 0);
	c.in_done = close_it;
	fake_run(&c.loop, 1000);
	expect("0 done DEADLINE_EXCEEDED local: no answer in time\nclose\n");
	fake_run(&c.loop, ANY_MS);
	expect("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_waits_for_a_stream),
		cmocka_unit_test(who_waits_is_told_though_another_was_refused),
		cmocka_unit_test(a_message_trickles_through_a_tiny_window),
		cmocka_unit_test(a_socket_that_takes_little_gets_it_all),
		cmocka_unit_test(a_server_that_never_says_settings_is_given_up),
		cmocka_unit_test(settings_end_their_own_deadline),
		cmocka_unit_test(no_ping_is_sent_without_a_call),
		cmocka_unit_test(a_ping_that_is_not_answered_ends_the_channel),
		cmocka_unit_test(an_answered_ping_is_followed_by_the_next),
		cmocka_unit_test(any_byte_counts_as_life),
		cmocka_unit_test(too_many_pings_doubles_the_interval_for_good),
		cmocka_unit_test(a_graceful_goaway_lets_calls_finish),
		cmocka_unit_test(a_lost_connection_ends_all_calls_before_it_is_told),
		cmocka_unit_test(a_connection_that_fails_is_told),
		cmocka_unit_test(a_violation_is_answered_by_goaway_and_told),
		cmocka_unit_test(closing_says_goodbye_and_ends_calls),
		cmocka_unit_test(closing_is_safe_within_any_callback),
		cmocka_unit_test(closing_is_safe_where_the_channel_tells_of_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

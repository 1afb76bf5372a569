#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes h2.h: what a server of another hand (python3-h2) sends in a conversation of three calls.

Run it as: /usr/bin/python3 make_h2.py > h2.h
Its headers are compressed with its own dynamic table and Huffman code.
"""
import h2
import h2.config
import h2.connection
import h2.settings
import hyperframe.frame

REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "b"), ("te", "trailers")]
ANSWER = [(":status", "200"), ("content-type", "application/grpc"), ("x-trace", "0123456789abcdef")]


def pump(source, sink):
    data = source.data_to_send()
    sink.receive_data(data)
    return data


def main():
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    server.initiate_connection()
    wire = b""
    pump(client, server)
    wire += pump(server, client)
    for stream in (1, 3, 5):
        client.send_headers(stream, REQUEST)
    pump(client, server)
    server.send_headers(1, [(":status", "103"), ("link", "</style.css>")])
    server.send_headers(1, ANSWER)
    server.send_headers(3, ANSWER)
    server.send_data(1, b"hello ", pad_length=7)
    server.ping(b"12345678")
    server.send_data(3, b"x" * 300)
    server.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 70000,
                            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100})
    server.send_data(1, b"world")
    server.increment_flow_control_window(1000)
    server.increment_flow_control_window(500, 1)
    server.send_headers(1, [("grpc-status", "0"), ("grpc-message", "all is well")], end_stream=True)
    server.send_headers(5, ANSWER + [("grpc-status", "5"), ("grpc-message", "r\u00e9vision".encode())], end_stream=True)
    wire += server.data_to_send()
    wire += bytes([0, 0, 4, 0x42, 0, 0, 0, 0, 3]) + b"what"  # of a type that nobody knows
    wire += hyperframe.frame.PriorityFrame(3, stream_weight=16, depends_on=1).serialize()
    server.reset_stream(3, 8)
    server.close_connection(0, b"bye", 5)
    wire += server.data_to_send()
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* Written by make_h2.py with python3-h2 %s. */" % h2.__version__)
    print("/* clang-format off */")
    print("static const char server_hex[] =")
    text = wire.hex()
    print("\n".join('\t"%s"' % text[i:i + 100] for i in range(0, len(text), 100)) + ";")


main()

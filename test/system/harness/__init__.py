# SPDX-License-Identifier: Apache-2.0
"""What the system tests stand on: real and fake etcd servers, a faulty proxy, a PKI, the agent."""

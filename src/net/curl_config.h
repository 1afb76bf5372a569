/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of libcurl 8.14 is built: HTTP/1.1 and proxies, driven by a loop, and nothing else. It stands in place
 * of the curl_config.h that its configure script would write, and tells what any Linux system has, with musl
 * or glibc, of 32 bits or 64. What is left out on purpose:
 *
 *  - other protocols, cookies, other logins than Basic, what is kept in files or read from them;
 *  - threads and resolving: names come resolved (CURLOPT_RESOLVE);
 *  - TLS other than mbedTLS, and a generator of random numbers: the port's are given to it;
 *  - verbose messages. Those of errors are there, for the log at its finest level.
 */
#ifndef ETCHLET_NET_CURL_CONFIG_H
#define ETCHLET_NET_CURL_CONFIG_H

/* Protocols */
#define CURL_DISABLE_DICT 1
#define CURL_DISABLE_FILE 1
#define CURL_DISABLE_FTP 1
#define CURL_DISABLE_GOPHER 1
#define CURL_DISABLE_IMAP 1
#define CURL_DISABLE_IPFS 1
#define CURL_DISABLE_LDAP 1
#define CURL_DISABLE_LDAPS 1
#define CURL_DISABLE_MQTT 1
#define CURL_DISABLE_POP3 1
#define CURL_DISABLE_RTSP 1
#define CURL_DISABLE_SMB 1
#define CURL_DISABLE_SMTP 1
#define CURL_DISABLE_TELNET 1
#define CURL_DISABLE_TFTP 1
#define CURL_DISABLE_WEBSOCKETS 1

/* Parts of HTTP */
#define CURL_DISABLE_ALTSVC 1
#define CURL_DISABLE_AWS 1
#define CURL_DISABLE_BEARER_AUTH 1
#define CURL_DISABLE_COOKIES 1
#define CURL_DISABLE_DIGEST_AUTH 1
#define CURL_DISABLE_FORM_API 1
#define CURL_DISABLE_HEADERS_API 1
#define CURL_DISABLE_HSTS 1
#define CURL_DISABLE_KERBEROS_AUTH 1
#define CURL_DISABLE_MIME 1
#define CURL_DISABLE_NEGOTIATE_AUTH 1
#define CURL_DISABLE_NTLM 1
#ifndef CONFIG_NET_PROXY
#define CURL_DISABLE_PROXY 1
#endif

/* The rest */
#define CURL_DISABLE_BINDLOCAL 1
#define CURL_DISABLE_CA_SEARCH 1
#define CURL_DISABLE_DOH 1
#define CURL_DISABLE_GETOPTIONS 1
#define CURL_DISABLE_LIBCURL_OPTION 1
#define CURL_DISABLE_NETRC 1
#define CURL_DISABLE_PROGRESS_METER 1
#define CURL_DISABLE_SHA512_256 1
#define CURL_DISABLE_SHUFFLE_DNS 1
#define CURL_DISABLE_SOCKETPAIR 1
#define CURL_DISABLE_VERBOSE_STRINGS 1
#define CURL_EXTERN_SYMBOL
#define CURL_OS "Linux"

/* The system */
#define _GNU_SOURCE 1
#define _FILE_OFFSET_BITS 64
#define STDC_HEADERS 1
#define SIZEOF_CURL_OFF_T 8
#define SIZEOF_OFF_T 8
#define SIZEOF_INT __SIZEOF_INT__
#define SIZEOF_LONG __SIZEOF_LONG__
#define SIZEOF_SIZE_T __SIZEOF_SIZE_T__
/* No more than is certain: of musl 8, of glibc's 32 bits 4. It only bounds what is read as a date. */
#define SIZEOF_TIME_T __SIZEOF_LONG__
#define USE_IPV6 1
#define USE_UNIX_SOCKETS 1
#define HAVE_ARPA_INET_H 1
#define HAVE_ATOMIC 1
#define HAVE_BOOL_T 1
#define HAVE_CLOCK_GETTIME_MONOTONIC 1
#define HAVE_FCNTL_H 1
#define HAVE_FCNTL_O_NONBLOCK 1
#define HAVE_FREEADDRINFO 1
#define HAVE_GETADDRINFO 1
#define HAVE_GETPEERNAME 1
#define HAVE_GETSOCKNAME 1
#define HAVE_GETTIMEOFDAY 1
#define HAVE_GMTIME_R 1
#define HAVE_IF_NAMETOINDEX 1
#define HAVE_INET_NTOP 1
#define HAVE_INET_PTON 1
#define HAVE_INTTYPES_H 1
#define HAVE_LONGLONG 1
#define HAVE_MSG_NOSIGNAL 1
#define HAVE_NETDB_H 1
#define HAVE_NETINET_IN_H 1
#define HAVE_NETINET_TCP_H 1
#define HAVE_NETINET_UDP_H 1
#define HAVE_NET_IF_H 1
#define HAVE_POLL 1
#define HAVE_POLL_H 1
#define HAVE_RECV 1
#define HAVE_SA_FAMILY_T 1
#define HAVE_SELECT 1
#define HAVE_SEND 1
#define HAVE_SOCKADDR_IN6_SIN6_SCOPE_ID 1
#define HAVE_SOCKET 1
#define HAVE_STDATOMIC_H 1
#define HAVE_STDBOOL_H 1
#define HAVE_STDINT_H 1
#define HAVE_STDIO_H 1
#define HAVE_STDLIB_H 1
#define HAVE_STRCASECMP 1
#define HAVE_STRDUP 1
#define HAVE_STRINGS_H 1
#define HAVE_STRING_H 1
#define HAVE_STRUCT_SOCKADDR_STORAGE 1
#define HAVE_STRUCT_TIMEVAL 1
#define HAVE_SUSECONDS_T 1
#define HAVE_SYS_IOCTL_H 1
#define HAVE_SYS_PARAM_H 1
#define HAVE_SYS_POLL_H 1
#define HAVE_SYS_SELECT_H 1
#define HAVE_SYS_SOCKET_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_SYS_UN_H 1
#define HAVE_UNISTD_H 1

/* What it calls by these names is in net/http_curl.c. The resolver would block everything, if it were asked in spite
 * of all; and the environment has been read by who may read it. */
#define getaddrinfo http_curl_getaddrinfo
#define getenv http_curl_getenv

#ifdef CONFIG_NET_TLS
#define USE_MBEDTLS 1
/* One that is seeded by the port would be a second generator: it is asked for each number instead. */
#define mbedtls_entropy_init http_curl_entropy_init
#define mbedtls_entropy_free http_curl_entropy_free
#define mbedtls_entropy_func http_curl_entropy
#define mbedtls_ctr_drbg_init http_curl_random_init
#define mbedtls_ctr_drbg_free http_curl_random_free
#define mbedtls_ctr_drbg_seed http_curl_random_seed
#define mbedtls_ctr_drbg_random http_curl_random
/* A literal address is no server name (RFC 6066 3). */
#define mbedtls_ssl_set_hostname http_curl_set_hostname
/* It says too little about why. */
#define mbedtls_ssl_handshake http_curl_handshake
#define mbedtls_ssl_read http_curl_read
/* Of pinned keys, which are not used. */
#define mbedtls_pk_write_pubkey_der(key, dst, cap) (-1)
#endif

#endif

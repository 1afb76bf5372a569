#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tls_pki.sh DIR: makes the keys and certificates of test_tls in DIR, with the openssl command.
set -eu
cd "$1"

: >index.txt
cat >ca.cnf <<'EOF'
[ca]
default_ca = it
[it]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
policy = any
default_md = sha256
copy_extensions = none
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
EOF

# key NAME KIND
key() {
	case $2 in
	rsa*) openssl genrsa -out "$1.key" "${2#rsa}" ;;
	*) openssl ecparam -name "$2" -genkey -noout -out "$1.key" ;;
	esac
}

# cert NAME SUBJECT CA START END MD EXTENSION...   CA may be the certificate itself
cert() {
	name=$1 subject=$2 ca=$3 start=$4 end=$5 md=$6
	shift 6
	printf '%s\n' "subjectKeyIdentifier = hash" "$@" >"$name.ext"
	openssl req -new -config ca.cnf -key "$name.key" -subj "/CN=$subject" -out "$name.csr"
	if [ "$ca" = "$name" ]; then
		set -- -selfsign -keyfile "$name.key"
	else
		set -- -cert "$ca.pem" -keyfile "$ca.key"
	fi
	openssl ca -batch -notext -config ca.cnf "$@" -in "$name.csr" -out "$name.pem" -md "$md" \
		-startdate "$start" -enddate "$end" -extfile "$name.ext"
}

old=20200101000000Z past=20210101000000Z far=20491231235959Z later=20480101000000Z
is_ca='basicConstraints = critical,CA:TRUE'
good='subjectAltName = DNS:localhost,DNS:*.wild.test,IP:127.0.0.1,IP:::1'

for name in ca ca2 inter leaf server other cn expired future sha1 usage client; do
	key $name prime256v1
done
key p384 secp384r1
key rsa rsa2048
key weak rsa1024
key client2 prime256v1

cert ca "Test CA" ca $old $far sha256 "$is_ca"
cert ca2 "Other CA" ca2 $old $far sha256 "$is_ca"
cert inter "Intermediate" ca $old $past sha256 "$is_ca"
cert leaf "leaf" inter $old $far sha256 "$good"
cert server "server" ca $old $far sha256 "$good"
cert p384 "p384" ca $old $far sha384 "$good"
cert rsa "rsa" ca $old $far sha256 "$good"
cert weak "weak" ca $old $far sha256 "$good"
cert sha1 "sha1" ca $old $far sha1 "$good"
cert usage "usage" ca $old $far sha256 "$good" "extendedKeyUsage = clientAuth"
cert other "other" ca $old $far sha256 "subjectAltName = DNS:a,IP:1.2.3.4"
cert cn "localhost" ca $old $far sha256 "keyUsage = digitalSignature"
cert expired "expired" ca $old $past sha256 "$good"
cert future "future" ca $later $far sha256 "$good"
cert client "client" ca $old $far sha256 "extendedKeyUsage = clientAuth"
cat leaf.pem inter.pem >chain.pem
cp leaf.key chain.key
cat ca2.pem ca.pem >both.pem
openssl pkcs8 -topk8 -in client.key -passout pass:secret -out locked.key

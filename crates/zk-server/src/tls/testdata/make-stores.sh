#!/usr/bin/env bash
# Makes the key and trust stores that the tests read, with openssl and Java's keytool.
# The stores are committed, so this is run only to change them: ./make-stores.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p stores
rm -f stores/*
pass=changeit
days=36500

# key NAME, cert NAME SUBJECT ISSUER: an EC key, and its certificate of an issuer (or of itself).
key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$1.key" 2>/dev/null
}
cert() {
    local name=$1 subject=$2 issuer=$3 extensions=$4
    openssl req -new -key "$work/$name.key" -subj "$subject" -utf8 -out "$work/$name.csr"
    printf '%b' "$extensions" >"$work/ext"
    if [ "$issuer" = "$name" ]; then
        openssl x509 -req -in "$work/$name.csr" -signkey "$work/$name.key" -days $days \
            -extfile "$work/ext" -out "$work/$name.pem" 2>/dev/null
    else
        openssl x509 -req -in "$work/$name.csr" -CA "$work/$issuer.pem" -CAkey "$work/$issuer.key" \
            -CAcreateserial -days $days -extfile "$work/ext" -out "$work/$name.pem" 2>/dev/null
    fi
}
for name in ca middle server client stranger; do key $name; done
cert ca '/O=Test/CN=Root' ca 'basicConstraints=critical,CA:true\n'
cert middle '/O=Test/CN=Middle' ca 'basicConstraints=critical,CA:true\n'
cert server '/C=US/O=Acme\, Inc./CN=server' middle 'subjectAltName=DNS:localhost,IP:127.0.0.1\n'
cert client '/C=US/O=Acme/OU=Ops+UID=7/CN=client' ca 'basicConstraints=CA:false\n'
cert stranger '/CN=stranger' stranger 'basicConstraints=CA:false\n'
cat "$work"/{server,middle}.pem >"$work/chain.pem"

# PEM: PKCS#8 plain and encrypted, SEC 1.
cat "$work/server.key" "$work/chain.pem" >stores/server.pem
{ openssl pkcs8 -topk8 -in "$work/server.key" -passout pass:$pass; cat "$work/chain.pem"; } >stores/server-encrypted.pem
{ openssl ec -in "$work/server.key" 2>/dev/null; cat "$work/chain.pem"; } >stores/server-sec1.pem
for name in client stranger; do cat "$work/$name.key" "$work/$name.pem" >stores/$name.pem; done
cp "$work/ca.pem" stores/ca.pem
cat "$work/ca.pem" "$work/stranger.pem" >stores/trust.pem

# X.509 version 1, which openssl 3.0 makes without an extension file.
key v1
openssl req -new -key "$work/v1.key" -subj '/O=Acme/CN=v1' -out "$work/v1.csr"
openssl x509 -req -in "$work/v1.csr" -signkey "$work/v1.key" -days $days -out "$work/v1.pem" 2>/dev/null
cat "$work/v1.key" "$work/v1.pem" >stores/v1.pem

# PKCS#12: of openssl now and as it was before version 3, of Java now and as it was before 17.
p12() {
    openssl pkcs12 -export -inkey "$work/server.key" -in "$work/chain.pem" -name server \
        -passout pass:$pass -out "$1" "${@:2}"
}
p12 stores/server-openssl.p12
p12 stores/server-openssl-legacy.p12 -legacy -certpbe PBE-SHA1-RC2-40 -keypbe PBE-SHA1-3DES
p12 stores/server-sha512.p12 -macalg sha512 -keypbe AES-128-CBC -certpbe AES-192-CBC
to() {
    keytool -importkeystore -noprompt -srckeystore stores/server-openssl.p12 -srcstorepass $pass \
        -destkeystore "$1" -deststorepass $pass "${@:2}" 2>/dev/null
}
to stores/server-java.p12 -deststoretype PKCS12
to stores/server-java-legacy.p12 -deststoretype PKCS12 -J-Dkeystore.pkcs12.legacy
to stores/server.jks -deststoretype JKS

# Trust stores: of Java, and one of openssl, whose certificates Java does not trust.
trust() {
    for name in ca stranger; do
        keytool -importcert -noprompt -alias $name -file "$work/$name.pem" -keystore "$1" \
            -storepass $pass "${@:2}" 2>/dev/null
    done
}
trust stores/trust.p12 -storetype PKCS12
trust stores/trust.jks -storetype JKS
openssl pkcs12 -export -nokeys -in "$work/ca.pem" -passout pass:$pass -out stores/trust-openssl.p12

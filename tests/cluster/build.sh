#!/usr/bin/env bash
# Builds kube-apiserver, kube-controller-manager and kube-scheduler from the pinned Go module into a cache
# folder named after go.sum's hash, and prints that folder. A second call finds them there.
# The version must be injected: without it /version is not a semantic version, and Helm refuses it.
set -euo pipefail
cd "$(dirname "$0")"
version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" {print $3} $1 == "k8s.io/kubernetes" {print $2}' go.mod | head -n 1)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/remediator/cluster/$(cat go.mod go.sum | sha256sum | cut -c1-16)"
if [ ! -x "$cache/kube-scheduler" ]; then
	echo "building Kubernetes $version (about 8 minutes on two cores, once)" >&2
	gocache=$(mktemp -d)
	trap 'rm -rf "$gocache"' EXIT
	mkdir -p "$cache.partial"
	minor=${version#v1.}
	minor=${minor%%.*}
	set=k8s.io/component-base/version
	GOCACHE="$gocache" CGO_ENABLED=0 go build -trimpath -o "$cache.partial/" -ldflags "-s -w \
		-X $set.gitVersion=$version -X $set.gitMajor=1 -X $set.gitMinor=$minor -X $set.gitTreeState=clean \
		-X $set.buildDate=1970-01-01T00:00:00Z -X k8s.io/client-go/pkg/version.gitVersion=$version" tool
	rm -rf "$cache"
	mv "$cache.partial" "$cache"
fi
echo "$cache"

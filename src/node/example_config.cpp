// What `crosslink config generate` prints: each key with its default, or as a comment.
#include "node/config.hpp"

namespace crosslink::node {
namespace {

constexpr std::string_view example = R"toml(# A crosslink node. Paths are relative to this file's folder.

# This cluster's name. The certificate below must have it as a DNS name, and mirrors ask for it.
cluster_id = "prod-us"
# Everything the node keeps. Made with mode 0700 if it is missing.
data_dir = "data"

[listen]
# Mirrors of other clusters: QUIC over UDP, TLS 1.3 with certificates on both sides.
mirrors = "0.0.0.0:7400"
# Clients: the Redis protocol over TCP, without TLS; anything but loopback needs a password (clients.password_file).
clients = "127.0.0.1:6380"
# Commands: HTTP, guarded by data_dir/admin.token. Anything but loopback is served with TLS, with the certificate below.
admin = "127.0.0.1:7401"

[tls]
# `crosslink certs init` and `crosslink certs issue` make these.
ca = "certs/ca.pem"
cert = "certs/prod-us.pem"
# Its owner only may read it, or it is root's, and a group of the node's may read it.
key = "certs/prod-us.key"
# Serial numbers of certificates that are let in no more, as `openssl x509 -noout -serial -in FILE` prints them.
# denied_serials = ["6F:0B:4C:D2"]

[clients]
# The first line of this file is what clients say with AUTH. It must be as private as the key.
# password_file = "clients.password"
# Clients connected at once.
connections_max = 10000
# What all of them together may hold of large commands and answers; who would hold more is sent away.
buffers_bytes = "1GiB"

[source]
# Sessions of mirrors at once: of one certificate's name with one database, and of all.
mirrors_per_name_max = 16
mirrors_max = 1024
# A mirror that takes nothing of its snapshot, or of a verify, for this long gives its place to others, and goes on later.
stall_max = "5m"

[mirror]
# A mirror that hears nothing from its source for this long is Disconnected.
disconnected_after = "30s"

# What all databases in RocksDB share.
[memory]
# Parts of tables that were read.
cache_bytes = "256MiB"
# What was written and is not in tables yet; a database makes its tables early where all together hold more.
write_buffers_bytes = "256MiB"

# For mirrors and databases made by command: every key of [[database]] below but the name. Not said there, it holds there too.
[database_defaults]
min_free_bytes = "1GiB"

# One of these for each database that takes writes here. SELECT 0 is the first, SELECT 1 the second, or SELECT NAME.
[[database]]
name = "packages"
# What keeps it: "rocksdb", below data_dir, or "etcd" (at the end).
# engine = "rocksdb"
# Certificate names of the clusters that may mirror it; ["*"] is any that our CA signed. Without this line none may, unless
# `crosslink db allow-mirrors` says who.
allow_mirrors = ["eu-standby"]
# When a write is on disk: "always" before it is answered, "1s" within a second, "never" when the system likes.
sync = "1s"
# Of tables on disk: "none", "lz4" or "zstd".
compression = "lz4"
# A cache of its own, beside what all share: for a database whose reads must not wait because of others' reads.
# cache_bytes = "256MiB"
# Log kept for mirrors that are away, as much and as long as this, whichever is reached first ...
log_window_bytes = "1GiB"
log_window_time = "24h"
# ... and at most this much while a mirror still needs it.
log_budget_bytes = "4GiB"
# Of a mirror: what a snapshot that it receives leaves free on the disk, for the databases that take writes there.
min_free_bytes = "1GiB"
# Sync mode: a write is answered OK once it is on disk here and at each of these mirrors ...
# sync_mirrors = ["eu-standby"]
# ... and otherwise after this long, by ...
# sync_timeout = "5s"
# ... "error": it is stored, and its writer is told -NOSYNC; or "async": it is answered OK, and counted.
# on_sync_loss = "error"
# Of a mirror kept here: what it takes a snapshot as, "files" of the source's RocksDB, which are opened here, or pairs.
# ["kv"]: pairs only, for a source that is not ours; slower.
# snapshot_formats = ["files", "kv"]
# Of a mirror that is kept in etcd: the target's history is compacted to about so many revisions, for all who use that
# etcd; "off": crosslink never compacts it.
# target_revisions_kept = 100000

# A database that lives in an etcd cluster: it is read there, and offered to mirrors here. Its clients stay etcd's own.
#   [[database]]
#   name = "registry"
#   engine = "etcd"
#   endpoints = ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]
# What its keys begin with, and what of them is left out.
#   prefix = "/registry/"
#   excludes = ["/registry/events/"]
# The authority of the servers' certificates, and our own certificate where they ask for one ...
#   cacert = "certs/etcd-ca.pem"
#   cert = "certs/etcd-client.pem"
#   key = "certs/etcd-client.key"
# ... or a user, whose password is the first line of a file that is as private as the key.
#   user = "crosslink"
#   password_file = "etcd.password"
# ... which goes over http:// to another machine only when it is said that it may, for everybody on the way to read.
#   allow_password_in_clear = false
# allow_mirrors, log_window_bytes and log_budget_bytes as above: of the log kept here beside etcd's own history.
)toml";

}  // namespace

std::string_view example_config() { return example; }

}  // namespace crosslink::node

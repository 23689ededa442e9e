// What must have happened in any large number of runs: a fault that never comes proves nothing.
#pragma once

#include <array>
#include <string_view>

namespace crosslink::sim::event {

inline constexpr std::string_view connection_cut = "connection cut", cut_in_a_frame = "cut within a frame",
                                  weather = "weather", source_killed = "source killed",
                                  source_power = "power cut at the source", source_tail = "the source lost a tail",
                                  failed_sync = "failed sync at the source", mirror_killed = "mirror killed",
                                  mirror_power = "power cut at a mirror", mirror_tail = "a mirror lost a tail",
                                  partial_tail = "a partial snapshot lost its tail", purged = "log purged",
                                  restored = "source restored", restored_restamped = "source restored and restamped",
                                  restamped = "source restamped", outlived = "history changed under sessions",
                                  emptied = "source emptied", middle_anew = "middle mirror bootstrapped anew",
                                  source_disk = "disk full at a source", mirror_disk = "disk full at a mirror",
                                  slow = "slow engine", mirror_clock = "clock jump at a mirror",
                                  source_clock = "clock jump at a source", damaged = "stored chunk damaged",
                                  misread = "engine read from elsewhere", paused = "pause", resumed = "resume",
                                  resync = "resync", promoted = "promote", limited = "limit", verified = "verify equal",
                                  fragments = "entry in fragments", resumed_snapshot = "snapshot taken up again",
                                  step_back = "step back", window = "LogWindowExceeded", behind = "SourceBehind",
                                  parted = "HistoriesParted", origin = "OriginChanged",
                                  future = "peers of a later version", confirmed = "sync: confirmed",
                                  unconfirmed = "sync: unconfirmed", async = "sync: async",
                                  promoted_synced = "sync: a mirror with confirmed commits promoted";

inline constexpr std::array all{
    connection_cut,  cut_in_a_frame, weather,     source_killed, source_power,     source_tail, failed_sync,
    mirror_killed,   mirror_power,   mirror_tail, partial_tail,  purged,           restored,    restored_restamped,
    restamped,       outlived,       emptied,     middle_anew,   source_disk,      mirror_disk, slow,
    mirror_clock,    source_clock,   damaged,     misread,       paused,           resumed,     resync,
    promoted,        limited,        verified,    fragments,     resumed_snapshot, step_back,   window,
    behind,          parted,         origin,      future,        confirmed,        unconfirmed, async,
    promoted_synced,
};

}  // namespace crosslink::sim::event

// A disk on the system's files below one folder, whose power can be cut and which can be full. Nothing is really
// synced: what would have been is what a cut leaves.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace crosslink::test {

/// What a cut takes is drawn from a seed: of bytes that were not synced any end, of names in a folder that was not
/// synced since (made, renamed, linked, removed) any. A truncation and the renaming of a folder are kept at once.
/// Thread safe.
class FaultyDisk final : public rocksdb::FileSystemWrapper {
 public:
  using Path = std::filesystem::path;
  static std::shared_ptr<FaultyDisk> below(const Path& folder, std::uint64_t seed = 1);
  /// RocksDB's way to it; lives as long as this.
  rocksdb::Env* env() { return env_.get(); }

  /// After so many more changes none is made; each answers an error.
  void cut_power_after(std::uint64_t changes);
  bool power_is_cut() const;
  /// Takes away what was not synced. Nothing of the disk may be open.
  void restore_power();
  std::uint64_t changes() const;
  /// Called before each syncing of a file, with nothing locked, on RocksDB's thread.
  void on_sync_of_file(std::function<void(const Path&)> look);

  /// Nothing more fits: what is appended fails after a part of it, what is made or synced at once.
  void set_full(bool full);
  std::uint64_t refused_for_space() const;
  /// What it says is free, whatever fits: 0 when it is full, else as much as the system's disk has, unless told here.
  void say_free(std::optional<std::uint64_t> bytes);
  /// Syncing this folder fails from now on; what changed in it is there all the same. Empty: no longer.
  void refuse_sync_of(const Path& folder);

  /// The next syncing of a log of RocksDB's fails, once. `takes`: what it was to make sure is gone, as on Linux, which
  /// drops what it could not write; else it is there all the same.
  void fail_next_sync_of_log(bool takes);

  // FileSystem
  const char* Name() const override { return "FaultyDisk"; }
  using Options = rocksdb::IOOptions;
  using Debug = rocksdb::IODebugContext;
  using Status = rocksdb::IOStatus;
  Status NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                         std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) override;
  Status ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                            std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) override;
  Status ReuseWritableFile(const std::string& name, const std::string& old, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file, Debug* debug) override;
  Status NewRandomRWFile(const std::string& name, const rocksdb::FileOptions& options,
                         std::unique_ptr<rocksdb::FSRandomRWFile>* file, Debug* debug) override;
  Status NewDirectory(const std::string& name, const Options& options, std::unique_ptr<rocksdb::FSDirectory>* folder,
                      Debug* debug) override;
  Status CreateDir(const std::string& name, const Options& options, Debug* debug) override;
  Status CreateDirIfMissing(const std::string& name, const Options& options, Debug* debug) override;
  Status DeleteFile(const std::string& name, const Options& options, Debug* debug) override;
  Status DeleteDir(const std::string& name, const Options& options, Debug* debug) override;
  Status RenameFile(const std::string& from, const std::string& to, const Options& options, Debug* debug) override;
  Status GetFreeSpace(const std::string& name, const Options& options, std::uint64_t* bytes, Debug* debug) override;
  Status LinkFile(const std::string& from, const std::string& to, const Options& options, Debug* debug) override;

 private:
  class File;
  class Folder;
  /// A change of names that no sync of its folder has made sure.
  struct Change {
    Path name;                       ///< what was made, renamed to, linked or removed
    std::optional<Path> kept_as;     ///< where the file stands that had the name before
    std::optional<Path> moved_from;  ///< of a rename
  };
  FaultyDisk(const Path& folder, std::uint64_t seed);
  bool is_mine(const Path& name) const;
  /// Is this change made? With the mutex held.
  Status admit(bool takes_space);
  Status opened(const Path& name, std::uint64_t synced, std::unique_ptr<rocksdb::FSWritableFile>* file);
  Status append(File& file, const rocksdb::Slice& bytes, const Options& options, Debug* debug);
  Status truncate(File& file, const Path& name, std::uint64_t bytes, const Options& options, Debug* debug);
  Status sync(const Path& name);
  Status sync_folder(const Path& name);
  void made(const Path& name) { changes_of_names_.push_back({name, {}, {}}); }
  std::optional<Path> keep(const Path& name);
  void undo(const Change& change);

  const Path folder_, kept_;
  std::unique_ptr<rocksdb::Env> env_;
  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  std::map<Path, std::uint64_t> synced_;  ///< bytes of each file that would be there
  std::vector<Change> changes_of_names_;
  std::uint64_t changes_ = 0, cut_at_ = 0, kept_files_ = 0, refused_ = 0;
  bool cut_ = false, full_ = false;
  std::optional<std::uint64_t> said_free_;
  Path refused_folder_;
  std::optional<bool> log_sync_fails_;  ///< whether that takes what was not synced
  std::function<void(const Path&)> on_sync_;
};

}  // namespace crosslink::test

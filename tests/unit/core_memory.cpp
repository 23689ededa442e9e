#include "core_memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace {
thread_local std::size_t largest = 0;
thread_local std::size_t total = 0;

void* take(std::size_t size) {
  largest = std::max(largest, size);
  total += size;
  return std::malloc(std::max<std::size_t>(size, 1));
}
}  // namespace

// The array forms end in these. The nothrow form is here so that it always matches the delete below.
void* operator new(std::size_t size) {
  if (void* memory = take(size)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return take(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace crosslink::test {

AllocationWatch::AllocationWatch() {
  largest = 0;
  total = 0;
}
std::size_t AllocationWatch::largest_bytes() { return largest; }
std::size_t AllocationWatch::total_bytes() { return total; }

}  // namespace crosslink::test

#include "team/processes/shared_memory.hpp"

#include <cerrno>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "jaxmg/error.hpp"

namespace jaxmg::processes {
namespace {

constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW;

[[noreturn]] void fail(const char* call) {
  throw Error(std::string(call) + ": " + std::generic_category().message(errno));
}

}  // namespace

void SharedMemory::map(int fd, std::size_t bytes) {
  void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) fail("mmap of shared memory");
  data_ = static_cast<std::byte*>(at);
  bytes_ = bytes;
}

SharedMemory::SharedMemory(const Descriptor& descriptor, std::size_t bytes) {
  struct stat status {};
  if (::fstat(descriptor.get(), &status) != 0) fail("fstat of shared memory");
  // Memory that its owner could cut off would end this process when it is touched.
  const int sealed = ::fcntl(descriptor.get(), F_GET_SEALS);
  if (static_cast<std::size_t>(status.st_size) != bytes || (sealed & F_SEAL_SHRINK) == 0) {
    throw Error("a peer's shared memory is not what this version of jaxmg shares");
  }
  map(descriptor.get(), bytes);
}

std::pair<SharedMemory, Descriptor> SharedMemory::create(std::size_t bytes) {
  Descriptor descriptor(::memfd_create("jaxmg", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (descriptor.empty()) fail("memfd_create");
  if (::ftruncate(descriptor.get(), static_cast<off_t>(bytes)) != 0) fail("ftruncate");
  if (::fcntl(descriptor.get(), F_ADD_SEALS, seals) != 0) fail("sealing shared memory");
  SharedMemory memory;
  memory.map(descriptor.get(), bytes);
  return {std::move(memory), std::move(descriptor)};
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace jaxmg::processes

// Kernels that were compiled at build time, one file of kernels/ at a time (see nvrtc/), and how
// they are launched.
#pragma once

#include <array>
#include <atomic>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <type_traits>
#include <utility>

#include <cuda_runtime_api.h>

namespace jaxmg::cuda {

/// A kernel of a file: the same in each of its binaries.
struct KernelEntry {
  static constexpr int most_parameters = 16;

  std::string_view name;  ///< "add<float>", "convert<float, double>"
  const char* symbol;
  int parameters;
  int sizes[most_parameters];  ///< in bytes
};

/// What a file was compiled to for one architecture: code for its major version from this minor
/// version on, or PTX, from which the driver makes code for it and all later ones.
struct KernelBinary {
  int architecture;  ///< 90: compute capability 9.0
  bool is_ptx;
  const unsigned char* data;
  std::size_t size;
};

struct Grid {
  cudaStream_t stream;
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes = 0;
};

/// A string as a template argument.
template <std::size_t size>
struct Text {
  char characters[size] = {};

  constexpr Text(const char (&text)[size]) {  // NOLINT(google-explicit-constructor)
    for (std::size_t i = 0; i < size; ++i) characters[i] = text[i];
  }
  constexpr std::string_view view() const { return {characters, size - 1}; }
};

namespace detail {

/// How a template argument is written in the name of a kernel.
template <class T>
inline constexpr std::string_view argument_name = "";
template <>
inline constexpr std::string_view argument_name<std::int32_t> = "int";
template <>
inline constexpr std::string_view argument_name<float> = "float";
template <>
inline constexpr std::string_view argument_name<double> = "double";
template <>
inline constexpr std::string_view argument_name<std::complex<float>> = "complex<float>";
template <>
inline constexpr std::string_view argument_name<std::complex<double>> = "complex<double>";

/// A number from 0 to 999.
template <int n>
struct Decimal {
  static_assert(n >= 0 && n < 1000);
  static constexpr char digits[3] = {'0' + n / 100, '0' + n / 10 % 10, '0' + n % 10};
  static constexpr std::size_t leading = n >= 100 ? 0 : n >= 10 ? 1 : 2;
  static constexpr std::string_view text{digits + leading, 3 - leading};
};
template <int n>
inline constexpr std::string_view argument_name<std::integral_constant<int, n>> = Decimal<n>::text;

/// Takes `part` off the front of `text`, if it is there.
constexpr bool take(std::string_view& text, std::string_view part) {
  const bool is_there = text.substr(0, part.size()) == part;
  if (is_there) text.remove_prefix(part.size());
  return is_there;
}

/// Whether `entry` is "name", or "name<A, B>" for template arguments A, B.
template <class... As>
constexpr bool is_named(std::string_view entry, std::string_view name) {
  static_assert((!argument_name<As>.empty() && ...), "an argument_name is missing");
  if (!take(entry, name)) return false;
  if constexpr (sizeof...(As) == 0) {
    return entry.empty();
  } else {
    std::string_view before = "<";
    const bool same =
        ((take(entry, std::exchange(before, ", ")) && take(entry, argument_name<As>)) && ...);
    return same && entry == ">";
  }
}

/// The index of a kernel in its file, or -1.
template <class File, class... As>
constexpr int index_of(std::string_view name) {
  int index = 0;
  for (const KernelEntry& entry : File::entries) {
    if (is_named<As...>(entry.name, name)) return index;
    ++index;
  }
  return -1;
}

template <class... Parameters>
constexpr bool takes(const KernelEntry& entry) {
  constexpr std::array<std::size_t, sizeof...(Parameters)> sizes{sizeof(Parameters)...};
  if (static_cast<std::size_t>(entry.parameters) != sizes.size()) return false;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (static_cast<std::size_t>(entry.sizes[i]) != sizes[i]) return false;
  }
  return true;
}

struct FileDescription {
  const char* name;
  const KernelEntry* entries;
  std::size_t entry_count;
  const KernelBinary* binaries;
  std::size_t binary_count;
};

template <class File>
inline constexpr FileDescription description{File::name, File::entries, std::size(File::entries),
                                             File::binaries, std::size(File::binaries)};

/// One kernel on each device, once it was loaded there.
struct KnownKernels {
  static constexpr int most_devices = 64;
  std::atomic<cudaKernel_t> on_device[most_devices] = {};
};

template <class File, int index>
inline KnownKernels known_kernels;

/// A kernel, for the current device: from the binary that fits it, loaded on first use and kept.
cudaKernel_t load(const FileDescription& file, int kernel, KnownKernels& known);

void launch(cudaKernel_t kernel, const Grid& grid, void** arguments);

}  // namespace detail

/// Which of `count` binaries serves devices of compute capability `architecture`: code before PTX,
/// the newest of either; -1 if none does.
int choose_binary(const KernelBinary* binaries, std::size_t count, int architecture);

/// A kernel of a file, for the current device; for CUDA's functions that take a kernel. `As` are
/// the kernel's template arguments, a number n as std::integral_constant<int, n>.
template <class File, Text name, class... As>
cudaKernel_t kernel() {
  constexpr int index = detail::index_of<File, As...>(name.view());
  static_assert(index >= 0, "there is no such kernel in this file");
  return detail::load(detail::description<File>, index, detail::known_kernels<File, index>);
}

/// Enqueues a kernel of a file, say launch<kernels::elements, "add", float>(grid, x, y) the kernel
/// add<float> of elements.cu. That there is one, with parameters of these sizes, is checked at
/// compile time.
template <class File, Text name, class... As, class... Parameters>
void launch(const Grid& grid, const Parameters&... parameters) {
  constexpr int index = detail::index_of<File, As...>(name.view());
  static_assert(index < 0 || detail::takes<Parameters...>(File::entries[index < 0 ? 0 : index]),
                "the kernel's parameters have other sizes, or there are more or fewer of them");
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&parameters))..., nullptr};
  detail::launch(kernel<File, name, As...>(), grid, pointers);
}

}  // namespace jaxmg::cuda

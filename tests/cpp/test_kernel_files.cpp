// The kernels that are embedded, without a GPU: each binary of a file has all of its kernels. (That
// the host asks for no others is checked when it is compiled.)
#ifdef JAXMG_WITH_CUDA

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <elf.h>
#include <gtest/gtest.h>

#include "device/cuda/kernel_file.hpp"
#include "kernels/band_reduction.hpp"
#include "kernels/bulge_chasing.hpp"
#include "kernels/cholesky.hpp"
#include "kernels/control.hpp"
#include "kernels/elements.hpp"
#include "kernels/scaling.hpp"
#include "kernels/syevd.hpp"
#include "kernels/tridiagonal.hpp"

namespace jaxmg::cuda {
namespace {

template <class X>
X read(const KernelBinary& binary, std::size_t offset) {
  X x;
  if (offset + sizeof x > binary.size) throw std::out_of_range("beyond the end of a binary");
  std::memcpy(&x, binary.data + offset, sizeof x);
  return x;
}

/// The names of the functions in device code, an ELF file.
std::vector<std::string> functions_of(const KernelBinary& code) {
  const auto header = read<Elf64_Ehdr>(code, 0);
  const auto section = [&](std::size_t i) {
    return read<Elf64_Shdr>(code, header.e_shoff + i * sizeof(Elf64_Shdr));
  };
  std::vector<std::string> names;
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    const Elf64_Shdr symbols = section(i);
    if (symbols.sh_type != SHT_SYMTAB) continue;
    const Elf64_Shdr strings = section(symbols.sh_link);
    for (std::size_t s = 0; s < symbols.sh_size; s += sizeof(Elf64_Sym)) {
      const auto symbol = read<Elf64_Sym>(code, symbols.sh_offset + s);
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) continue;
      names.emplace_back(
          reinterpret_cast<const char*>(code.data + strings.sh_offset + symbol.st_name));
    }
  }
  return names;
}

bool has_kernel(const KernelBinary& binary, const std::string& symbol) {
  if (binary.is_ptx) {
    const std::string_view text(reinterpret_cast<const char*>(binary.data), binary.size);
    return text.back() == '\0' && text.find(".entry " + symbol + "(") != text.npos;
  }
  const std::vector<std::string> names = functions_of(binary);
  return std::find(names.begin(), names.end(), symbol) != names.end();
}

template <class File>
class KernelFiles : public testing::Test {};
using AllFiles = testing::Types<kernels::band_reduction, kernels::bulge_chasing, kernels::cholesky,
                                kernels::control, kernels::elements, kernels::scaling,
                                kernels::syevd, kernels::tridiagonal>;
TYPED_TEST_SUITE(KernelFiles, AllFiles);

TYPED_TEST(KernelFiles, EachBinaryHasAllKernels) {
  for (const KernelBinary& binary : TypeParam::binaries) {
    EXPECT_GE(binary.architecture, 80);
    for (const KernelEntry& kernel : TypeParam::entries) {
      EXPECT_TRUE(has_kernel(binary, kernel.symbol))
          << kernel.name << " for " << binary.architecture << (binary.is_ptx ? ", PTX" : "");
    }
    EXPECT_FALSE(has_kernel(binary, "_ZN5jaxmg4cuda7missingEv"));
  }
}

TEST(KernelFile, NamesOfKernels) {
  using detail::is_named;
  EXPECT_TRUE(is_named<>("total", "total"));
  EXPECT_FALSE(is_named<>("total<float>", "total"));
  EXPECT_TRUE((is_named<float, std::complex<double>>("f<float, complex<double>>", "f")));
  EXPECT_FALSE((is_named<float, float>("f<float, double>", "f")));
  EXPECT_FALSE(is_named<float>("f<float, float>", "f"));
  EXPECT_FALSE(is_named<float>("of<float>", "f"));
  EXPECT_TRUE((is_named<double, std::integral_constant<int, 8>>("f<double, 8>", "f")));
  EXPECT_TRUE((is_named<std::integral_constant<int, 32>>("f<32>", "f")));
  EXPECT_TRUE((is_named<std::integral_constant<int, 640>>("f<640>", "f")));
}

TEST(KernelFile, ADeviceGetsTheNewestCodeThatItRuns) {
  const auto binary = [](int architecture, bool is_ptx) {
    return KernelBinary{architecture, is_ptx, nullptr, 0};
  };
  const KernelBinary all[] = {binary(80, false),  binary(80, true),   binary(90, false),
                              binary(100, false), binary(120, false), binary(120, true)};
  const auto chosen = [&](int architecture) {
    return choose_binary(all, std::size(all), architecture);
  };
  EXPECT_EQ(chosen(75), -1);
  EXPECT_EQ(chosen(80), 0);
  EXPECT_EQ(chosen(89), 0);  // the same major version
  EXPECT_EQ(chosen(90), 2);
  EXPECT_EQ(chosen(103), 3);
  EXPECT_EQ(chosen(110), 1);  // nothing of its own: the newest PTX up to it
  EXPECT_EQ(chosen(121), 4);
  EXPECT_EQ(chosen(130), 5);
}

}  // namespace
}  // namespace jaxmg::cuda

#endif

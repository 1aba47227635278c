// A program of the build: compiles one file of kernels by NVRTC for several architectures, and
// writes what the library embeds of it.
//
//     compile_kernels KERNELS.cu OUTPUT_DIRECTORY ARCHITECTURES OPTION...
//
// ARCHITECTURES as in CMake, "80;90-real": the binary for each, and without "-real" its PTX too,
// which serves devices to come. What this NVRTC does not know is left out, and said. Writes, for
// KERNELS.cu,
//
//     KERNELS.bin  all binaries
//     KERNELS.cpp  embeds them
//     KERNELS.hpp  jaxmg::cuda::kernels::KERNELS, a KernelFile (device/cuda/kernel_file.hpp)
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <cxxabi.h>
#include <nvrtc.h>

namespace {

void check(nvrtcResult result, const char* call) {
  if (result == NVRTC_SUCCESS) return;
  throw std::runtime_error(std::string(call) + ": " + nvrtcGetErrorString(result));
}
#define CHECK(call) check((call), #call)

struct Architecture {
  int number;  // 90: compute capability 9.0
  bool ptx_too;
};

struct Kernel {
  std::string name;    // as one writes it: add<float>
  std::string symbol;  // in the binary
  std::vector<int> sizes;

  friend bool operator==(const Kernel&, const Kernel&) = default;
};

struct Compiled {
  std::string binary;
  std::string ptx;
};

std::vector<Architecture> wanted_architectures(const std::string& list) {
  int count = 0;
  CHECK(nvrtcGetNumSupportedArchs(&count));
  std::vector<int> known(static_cast<std::size_t>(count));
  CHECK(nvrtcGetSupportedArchs(known.data()));
  std::vector<Architecture> wanted;
  std::stringstream entries(list);
  for (std::string entry; std::getline(entries, entry, ';');) {
    std::size_t digits = 0;
    const int number = std::stoi(entry, &digits);
    const std::string kind = entry.substr(digits);
    if (!kind.empty() && kind != "-real") {
      throw std::runtime_error("expected an architecture such as 90 or 90-real, got " + entry);
    }
    if (std::find(known.begin(), known.end(), number) == known.end()) {
      std::cout << "this NVRTC does not know compute capability " << number << ": left out\n";
      continue;
    }
    wanted.push_back({number, kind.empty()});
  }
  if (wanted.empty()) throw std::runtime_error("this NVRTC knows none of " + list);
  return wanted;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

Compiled compile(const std::filesystem::path& source, Architecture architecture,
                 const std::vector<std::string>& options) {
  std::vector<std::string> all = options;
  all.push_back("--gpu-architecture=sm_" + std::to_string(architecture.number));
  std::vector<const char*> arguments;
  for (const std::string& option : all) arguments.push_back(option.c_str());

  nvrtcProgram program = nullptr;
  CHECK(nvrtcCreateProgram(&program, read(source).c_str(), source.c_str(), 0, nullptr, nullptr));
  const nvrtcResult result =
      nvrtcCompileProgram(program, static_cast<int>(arguments.size()), arguments.data());
  std::size_t size = 0;
  CHECK(nvrtcGetProgramLogSize(program, &size));
  std::string log(size, '\0');
  CHECK(nvrtcGetProgramLog(program, log.data()));
  if (size > 1) std::cerr << log.c_str() << '\n';
  check(result, "nvrtcCompileProgram");

  Compiled compiled;
  CHECK(nvrtcGetCUBINSize(program, &size));
  compiled.binary.resize(size);
  CHECK(nvrtcGetCUBIN(program, compiled.binary.data()));
  CHECK(nvrtcGetPTXSize(program, &size));
  compiled.ptx.resize(size);  // with the zero at its end, which the driver wants
  CHECK(nvrtcGetPTX(program, compiled.ptx.data()));
  CHECK(nvrtcDestroyProgram(&program));
  return compiled;
}

/// "add<float>" of the symbol of jaxmg::cuda::add<float>(MatrixView<float const>, ...), with
/// "complex<float>" for any kind of complex numbers.
std::string name_of(const std::string& symbol) {
  int status = 0;
  char* const demangled = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  if (status != 0) throw std::runtime_error("a kernel with an odd name: " + symbol);
  std::string name = demangled;
  std::free(demangled);
  name = std::regex_replace(name, std::regex(R"(\b(\w+::)+)"), "");
  name = std::regex_replace(name, std::regex("^void "), "");
  name = std::regex_replace(name, std::regex("> >"), ">>");
  name = std::regex_replace(name, std::regex("Complex<"), "complex<");
  return name.substr(0, name.find('('));
}

/// The kernels in a PTX text, in the order of their names, with the bytes of each parameter.
std::vector<Kernel> kernels_of(const std::string& ptx) {
  static const std::regex entry(R"(\.entry\s+(\w+)\s*\(([^)]*)\))");
  static const std::regex parameter(R"(\.param[^,\[]*?\.[a-z](\d+)\s[^,\[]*(?:\[(\d+)\])?)");
  std::vector<Kernel> kernels;
  for (std::sregex_iterator e(ptx.begin(), ptx.end(), entry), end; e != end; ++e) {
    Kernel kernel{name_of((*e)[1]), (*e)[1], {}};
    const std::string parameters = (*e)[2];
    for (std::sregex_iterator p(parameters.begin(), parameters.end(), parameter); p != end; ++p) {
      const int elements = (*p)[2].matched ? std::stoi((*p)[2]) : 1;
      kernel.sizes.push_back(std::stoi((*p)[1]) / 8 * elements);
    }
    kernels.push_back(kernel);
  }
  std::sort(kernels.begin(), kernels.end(),
            [](const Kernel& a, const Kernel& b) { return a.name < b.name; });
  const auto twice =
      std::adjacent_find(kernels.begin(), kernels.end(),
                         [](const Kernel& a, const Kernel& b) { return a.name == b.name; });
  if (twice != kernels.end()) throw std::runtime_error("two kernels named " + twice->name);
  return kernels;
}

struct Part {
  int architecture;
  bool is_ptx;
  std::size_t begin, size;
};

void write_header(const std::filesystem::path& path, const std::string& file,
                  const std::vector<Kernel>& kernels, std::size_t parts) {
  std::ofstream out(path);
  out << "// Written by compile_kernels.\n#pragma once\n\n"
         "#include \"device/cuda/kernel_file.hpp\"\n\n"
         "namespace jaxmg::cuda::kernels {\n\nstruct "
      << file << " {\n  static constexpr const char* name = \"" << file
      << "\";\n  static constexpr KernelEntry entries[] = {\n";
  for (const Kernel& kernel : kernels) {
    out << "      {\"" << kernel.name << "\", \"" << kernel.symbol << "\", " << kernel.sizes.size()
        << ", {";
    for (const int size : kernel.sizes) out << size << ", ";
    out << "}},\n";
  }
  out << "  };\n  static const KernelBinary binaries[" << parts
      << "];\n};\n\n}  // namespace jaxmg::cuda::kernels\n";
}

void write_source(const std::filesystem::path& path, const std::filesystem::path& data,
                  const std::string& file, const std::vector<Part>& parts) {
  const std::string symbol = "jaxmg_kernels_" + file;
  std::ofstream out(path);
  out << "// Written by compile_kernels.\n#include \"" << file << ".hpp\"\n\n"
      << "asm(\".pushsection .rodata\\n.balign 64\\n.globl " << symbol << "\\n.hidden " << symbol
      << "\\n"
      << symbol << ":\\n.incbin \\\"" << data.string() << "\\\"\\n.popsection\");\n"
      << "extern \"C\" __attribute__((visibility(\"hidden\"))) const unsigned char " << symbol
      << "[];\n\nnamespace jaxmg::cuda::kernels {\n\nconst KernelBinary " << file
      << "::binaries[] = {\n";
  for (const Part& part : parts) {
    out << "    {" << part.architecture << ", " << (part.is_ptx ? "true" : "false") << ", "
        << symbol << " + " << part.begin << ", " << part.size << "},\n";
  }
  out << "};\n\n}  // namespace jaxmg::cuda::kernels\n";
}

void run(const std::vector<std::string>& arguments) {
  if (arguments.size() < 3) {
    throw std::runtime_error("usage: compile_kernels KERNELS.cu DIRECTORY ARCHITECTURES OPTION...");
  }
  const std::filesystem::path source = arguments[0], directory = arguments[1];
  const std::vector<std::string> options(arguments.begin() + 3, arguments.end());
  const std::string file = source.stem();

  std::vector<Kernel> kernels;
  std::vector<Part> parts;
  std::string data;
  const auto add = [&](int architecture, bool is_ptx, const std::string& bytes) {
    data.resize((data.size() + 63) / 64 * 64);
    parts.push_back({architecture, is_ptx, data.size(), bytes.size()});
    data += bytes;
  };
  for (const Architecture architecture : wanted_architectures(arguments[2])) {
    const Compiled compiled = compile(source, architecture, options);
    const std::vector<Kernel> here = kernels_of(compiled.ptx);
    if (here.empty()) throw std::runtime_error("no kernel in it");
    if (!kernels.empty() && here != kernels) {
      throw std::runtime_error("its kernels are not the same for all architectures");
    }
    kernels = here;
    add(architecture.number, false, compiled.binary);
    if (architecture.ptx_too) add(architecture.number, true, compiled.ptx);
  }
  std::ofstream(directory / (file + ".bin"), std::ios::binary) << data;
  write_header(directory / (file + ".hpp"), file, kernels, parts.size());
  write_source(directory / (file + ".cpp"), directory / (file + ".bin"), file, parts);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run({argv + 1, argv + argc});
    return 0;
  } catch (const std::exception& error) {
    std::cerr << (argc > 1 ? argv[1] : "compile_kernels") << ": " << error.what() << std::endl;
    return 1;
  }
}

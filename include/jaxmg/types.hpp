// The scalar types, index type and enumerations that every layer shares.
#pragma once

#include <complex>
#include <concepts>
#include <cstdint>
#include <type_traits>

namespace jaxmg {

/// Every size, offset and leading dimension. Narrowed, with a check, only where a vendor is called.
using index_t = std::int64_t;

template <class T>
inline constexpr bool is_complex_v = false;
template <class R>
inline constexpr bool is_complex_v<std::complex<R>> = true;

/// The four LAPACK types: s, d, c, z.
template <class T>
concept Scalar = std::same_as<T, float> || std::same_as<T, double> ||
    std::same_as<T, std::complex<float>> || std::same_as<T, std::complex<double>>;

namespace detail {
template <class T>
struct RealOf {
  using type = T;
};
template <class R>
struct RealOf<std::complex<R>> {
  using type = R;
};
}  // namespace detail

/// float for s and c, double for d and z.
template <class T>
using real_t = typename detail::RealOf<T>::type;

/// d for s and d, z for c and z.
template <Scalar T>
using wide_t = std::conditional_t<is_complex_v<T>, std::complex<double>, double>;

enum class DType : std::int32_t { f32 = 0, f64 = 1, c64 = 2, c128 = 3 };

/// Calls `f.template operator()<T>()` with the scalar type that `dtype` names.
template <class F>
decltype(auto) visit(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::f64:
      return f.template operator()<double>();
    case DType::c64:
      return f.template operator()<std::complex<float>>();
    case DType::c128:
      break;
  }
  return f.template operator()<std::complex<double>>();
}

template <Scalar T>
constexpr DType dtype_of() {
  if constexpr (std::same_as<T, float>) return DType::f32;
  if constexpr (std::same_as<T, double>) return DType::f64;
  if constexpr (std::same_as<T, std::complex<float>>) return DType::c64;
  return DType::c128;
}

/// JAX's names, used in messages.
constexpr const char* to_string(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::f64:
      return "float64";
    case DType::c64:
      return "complex64";
    case DType::c128:
      break;
  }
  return "complex128";
}

/// conj(x) that keeps real types real.
template <Scalar T>
constexpr T conjugate(const T& x) {
  if constexpr (is_complex_v<T>) {
    return T(x.real(), -x.imag());
  } else {
    return x;
  }
}

template <Scalar T>
constexpr real_t<T> real_part(const T& x) {
  if constexpr (is_complex_v<T>) {
    return x.real();
  } else {
    return x;
  }
}

}  // namespace jaxmg

#pragma once

namespace jaxmg {

/// Which rows of a column travel.
enum class Rows { all, from_diagonal };

}  // namespace jaxmg

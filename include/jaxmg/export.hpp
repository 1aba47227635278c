// What a C++ program may use of the shared library.
#pragma once

/// Marks public functions, and classes that cross the library's border as exceptions or with
/// out-of-line members. Everything else stays hidden.
#define JAXMG_EXPORT __attribute__((visibility("default")))

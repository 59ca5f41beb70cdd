/* Facts about element types. */
#ifndef EDGECOMP_SRC_CORE_DTYPE_H
#define EDGECOMP_SRC_CORE_DTYPE_H

#include <stdint.h>

/* Bytes of one element of an ec_dtype; 0 when there is no such type. */
uint32_t ec_dtype_bytes(uint32_t dtype);

#endif /* EDGECOMP_SRC_CORE_DTYPE_H */

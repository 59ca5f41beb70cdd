/* The hash against digests of the reference implementation. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "core/xxh64.h"

#define LONGEST 1000

static const struct {
  size_t bytes;
  uint64_t hash;
} expected[] = {
    {0, 0xef46db3751d8e999u},   {1, 0xa96c7f0ce858bbb7u},   {3, 0xbed43740ee6332bbu},
    {4, 0xfa212ae44b3bb23du},   {5, 0xd339dcc9ac8e6776u},   {7, 0x2744460dd675d2c0u},
    {8, 0x994b676b71ce94ddu},   {9, 0x572b84c18b983af8u},   {12, 0xb92f588ce720786eu},
    {15, 0x09e6451ed2ff8b1du},  {16, 0x94ad0095e72b24d5u},  {31, 0x6711d55e306b5d8fu},
    {32, 0x07f7b8e3bc5d6e25u},  {33, 0x09f85eeb4e1cbe9fu},  {39, 0xb13c137a0fb701c3u},
    {44, 0xd02b2028c27a5329u},  {63, 0xb7c9968c066cb6a5u},  {64, 0x50d4159a0411632eu},
    {65, 0xd277176bff863efcu},  {100, 0x9ddada11d3dc2d8fu}, {127, 0x54cf771b5423f6a7u},
    {128, 0x0430e433b792e757u}, {255, 0x15a6db05d4e83df4u}, {1000, 0x5ccf2f8763027d49u},
};

int main(void) {
  uint8_t data[LONGEST];
  for (uint32_t i = 0; i < LONGEST; ++i) {
    data[i] = (uint8_t)(i * 131 + (i >> 8) * 17 + 7);
  }
  CHECK_EQUAL(expected[0].hash, ec_xxh64(NULL, 0));
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; ++i) {
    for (size_t shift = 0; shift < 8; ++shift) { /* every alignment */
      uint8_t moved[LONGEST + 8];
      memcpy(moved + shift, data, expected[i].bytes);
      CHECK_EQUAL(expected[i].hash, ec_xxh64(moved + shift, expected[i].bytes));
    }
  }
  return 0;
}

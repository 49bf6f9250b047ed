[
  {
    "role": "coordinator",
    "name": "isles",
    "public_key": "9c5934e28defc0c741423ff0cae5792fc4a1075542a0dcc2f726389d2423c2b3",
    "signature": "4a3a5061cb2f96038fe6690a2770548883a45d3e04218e62f1badcfb8fe3320c4852b34c442f9d000f6eb0c91d62cf4817d6e993d7211dc8674ef8ae42f7590e"
  },
  {
    "role": "label",
    "name": "east",
    "public_key": "e29b8ef7277033282e8c01096d3351dda074aa79986eb70406bf6b940d06bb0f",
    "signature": "8bcbcc935087a932e5d07cd39900f0fd70d6d1747e3e7d30785557693ab5a6ecc6267e243ae638c54ee490aea440d1067f554cddb4c4e2a680bf6cdfdb96a207"
  },
  {
    "role": "label",
    "name": "north",
    "public_key": "21408de769e0dba9520143c29e2384c08e8a85284701ce203027237a24c43c39",
    "signature": "57ee96ed69ea182f2ee7772b6385f624fd957e76762dd3c0dd4650b7e033aca175fe7b5064f0eee6956c97c96a872682218fd7419145c536510ba305c9f44a07"
  },
  {
    "role": "label",
    "name": "west",
    "public_key": "e059187185658789cac2d021453c78765e8216f86f559841b3db63d89db7f723",
    "signature": "9d65031c7e0364cd84f3f87c981ee5613241ad9205d20f081d1ead69026badea6a7aed55a23cddc9872ec7b99d202d65b25fbf71fa92b5b4f31b73fa533dfd04"
  }
]

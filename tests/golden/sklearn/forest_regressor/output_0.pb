Boutput_0J@
KCqC<PC+æBèXfCwÄ=CXfCöÔ¹Bµ¾qCVšB?—eC2pBÃ.Cç›¤Bæ†ICú¨†C
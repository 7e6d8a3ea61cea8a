B	sklearn_0J@
KCqC<PC+æBèXfCvÄ=CXfCöÔ¹Bµ¾qCVšB>—eC2pBÃ.Cç›¤Bå†ICú¨†C
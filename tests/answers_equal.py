"""Answers as MATH, AIME, OlympiadBench, Minerva and SciBench write them: a gold answer, then the
same or another value.
"""


def pairs(table: str) -> list[tuple[str, str]]:
    """Each gold answer of a table with each of the answers beside it."""
    rows = [line.split(" :: ") for line in table.strip().splitlines() if not line.startswith("#")]
    return [(gold, answer) for gold, *answers in rows for answer in answers]


SAME = pairs(r"""
# Plain numbers
-\frac{2}{3} :: 2/(-3) :: \frac{2}{-3} :: \frac{-2}{3}
-2/3 :: (-2)/3 :: -(2/3)
\frac23 :: (-2)/(-3)
-\frac23 :: -\left(\frac{2}{3}\right)
\frac{7}{2} :: 3\frac{1}{2}
3.5 :: 3{,}5 :: 3.50
0.75 :: 0{,}75
1234567 :: 12,34,567 :: 1\,234\,567
10000000 :: 1,00,00,000
42 :: +42
0.5 :: .5
6.02\times10^{23} :: 6.02e23
1/3 :: 0.\overline{3}
-3 :: −3
14-i :: 14.0 + -1.0i
7 :: 07
\$32{,}348 :: 32,348
11111111100 :: 11,\! 111,\! 111,\! 100
0 :: -0
5 :: (5)
-5 :: (-5)
# Chains that end in their value, names before it
293 :: m+n = 256+37 = 293 :: 256+37=293
62 :: a+b+c = 12+25+25 = 62 :: a+b+c=62
37 :: 10a+b = 10\cdot 3+7 = 37
7 :: 2x+1 = 2\cdot3+1 = 7
5 :: |AB| = \sqrt{3^2+4^2} = 5 :: x=5
20 :: \text{Area} = \frac12\cdot 8\cdot5 = 20
4 :: x = 7-3 = 4
23 :: p+q+r = 5 + 7 + 11 = 23
12 :: xy = 3\cdot4 = 12
1/6 :: P = \frac{6}{36} = \frac16
10 :: \binom{5}{2} = 10
120 :: 5! = 120
2x :: f(x)=2x
f(x)=2x :: 2x
f(x) = 2x :: f(x)=x+x
a_n=2^n-1 :: 2^n-1
D=(0,1) :: (0,1)
(0,1) :: D = (0, 1)
x=5 :: 5
m-n = 3 :: 3
\angle ABC = 40^\circ :: 40
S_{10}=55 :: 55
16 :: a^2+b^2 = 16
25 :: x^2+y^2 = 9+16 = 25
\frac{1}{2} :: \cos\theta = \frac12
17 :: \mathrm{lcm} = 17
2 :: \lim_{x\to0}f(x) = 2
3 :: N = 3
(1,2) :: (x,y)=(1,2) :: x=1, y=2
x=1, y=2 :: (1,2)
x=1,y=2 :: y=2, x=1
(1,2,3) :: (a,b,c) = (1,2,3)
1,2 :: x=1 \text{ or } x=2 :: x_1=1, x_2=2
# Expressions
4\sqrt{2} :: 4\sqrt(2) :: 2^{5/2}
4\sqrt2 :: \sqrt{32} :: 4√2
\frac{\sqrt3}{3} :: \frac{1}{\sqrt{3}}
3+4i :: 3+4j :: 4i+3
2-3i :: -3j+2
\frac{\pi}{6} :: \pi/6 :: 30^\circ\cdot\frac{\pi}{180^\circ}
2\sin x\cos x :: \sin(2x)
\ln 8 :: 3\ln 2
\frac{x+1}{x-1} :: \frac{-x-1}{1-x}
(x+2)(x-3) :: x^2-x-6
e^{2x} :: \exp(2x)
\frac{1}{2}(n^2+n) :: \frac{n(n+1)}{2}
\frac{n^2+n}{2} :: \binom{n+1}{2}
2^{n+1}-2 :: 2(2^n-1)
1000\pi :: 1,000\pi
12,500\pi :: 12500\pi
\log_{10} 2 :: \log 2
\sqrt[3]{16} :: 2\sqrt[3]{2}
\tan^{-1}(2) :: \arctan 2
x\sqrt{x} :: x^{3/2}
2\cos 40^\circ :: 2\sin 50^\circ
\frac{\sqrt{6}-\sqrt{2}}{4} :: \sin 15^\circ
-\frac{1}{x^2} :: -x^{-2}
\frac{a+b}{2} :: 0.5(a+b)
\frac{1}{3}x^3+C :: \frac{x^3}{3}+C
\frac{4}{3}\pi r^3 :: \frac{4\pi r^3}{3}
13! :: 13\cdot 12!
\left\lfloor\frac{n}{2}\right\rfloor :: \lfloor \frac n2 \rfloor
2^{100} :: 4^{50}
# Equations of one curve
2x+4y-3=0 :: y = -\frac{1}{2}x + \frac{3}{4}
y=2x+3 :: 2x - y + 3 = 0 :: y-2x=3
3x-4y=5 :: 6x-8y=10
x^2+y^2=25 :: \frac{x^2}{25}+\frac{y^2}{25}=1
x^2+y^2-2x=0 :: (x-1)^2+y^2=1
\frac{x^2}{9}+\frac{y^2}{4}=1 :: 4x^2+9y^2=36
y^2=8x :: x=\frac{y^2}{8}
x+2y+3z=6 :: \frac{x}{6}+\frac{y}{3}+\frac{z}{2}=1
x^2-2x-3=0 :: x^2=2x+3
y-1=2(x-3) :: y=2x-5
x-y=0 :: y=x
A=\pi r^2 :: \pi r^2 = A
y=e^x :: e^x=y
x=y :: y=x
pv = nRT :: nRT = pv
# Sets of real numbers
(0, 12.5) :: 0 < x < 12.5
0<x<12.5 :: (0,12.5) :: x \in (0, \frac{25}{2})
m \ge \sqrt2 :: m \in [\sqrt2,\infty)
m\ge\sqrt2 :: [\sqrt{2}, +\infty)
(-\infty,3) :: x<3
x<3 :: (-\infty, 3)
(-\infty,-1)\cup(1,\infty) :: x<-1 \text{ or } x>1 :: |x|>1
x<-1 \text{ or } x>1 :: x > 1 \text{ or } x < -1
x<-1\text{ or }x>1 :: (-\infty,-1)\cup(1,\infty)
(-1,1) :: |x|<1
[-2,2] :: |x| \le 2
[2,5) :: [2,5[
(2,5) :: ]2,5[
(2,5] :: ]2;5]
(-\infty,2)\cup(3,\infty) :: ]-\infty,2[ \cup ]3,+\infty[
(-\infty,-1)\cup(-1,1)\cup(1,\infty) :: \mathbb{R} \setminus \{-1,1\}
\mathbb{R}\setminus\{2\} :: x \ne 2 :: (-\infty,2)\cup(2,\infty)
\mathbb{R} :: (-\infty,\infty)
(-\infty,\infty) :: \text{all real numbers}
x\in\mathbb{R} :: \mathbb{R}
x \in (1,3) :: 1<x<3
(1,3) :: 3 > x > 1 :: x>1 \text{ and } x<3
[1,\infty) :: \{x \mid x \ge 1\} :: \{x \in \mathbb{R} : x \ge 1\}
[1,3] :: 1\le x\le3
(1,2)\cup(2,3) :: 1<x<3, x\ne 2
\emptyset :: \text{no solution} :: \text{no real solutions}
\text{no solution} :: \emptyset
\text{No solution} :: \text{There are no solutions}
[-1,1]\cup\{3\} :: \{3\}\cup[-1,1]
(0,2)\cup(1,3) :: (0,3)
a<x<b :: (a,b)
k>-\frac14 :: k \in (-\frac{1}{4}, \infty)
x\geq 2 :: 2 \leq x
y\neq0 :: (-\infty,0)\cup(0,\infty)
[0,\infty) :: x \geqslant 0
(-\infty, 0]\cup[4, \infty) :: x \le 0 \text{ or } x \ge 4
[-2, 7] :: [-2,3]\cup[3,7]
# Lists, tuples, vectors, matrices, piecewise functions
(1,-2,3) :: \langle 1,-2,3\rangle
\langle 1,-2,3\rangle :: (1,-2,3)
\begin{pmatrix}1\\-2\\3\end{pmatrix} :: (1,-2,3)^T :: \langle 1,-2,3\rangle
\begin{pmatrix}\frac12&0\\0&1\end{pmatrix} :: \frac12\begin{pmatrix}1&0\\0&2\end{pmatrix}
\frac12\begin{pmatrix}1&0\\0&2\end{pmatrix} :: \begin{pmatrix}1/2&0\\0&1\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} :: \begin{bmatrix}1&2\\3&4\end{bmatrix}
(1,\frac92) :: (1,4.5)
(3, \frac{\pi}{2}) :: \left(3,\frac{\pi}{2}\right)
1,-2 :: -2, 1
\pm 3 :: 3,-3
\begin{cases}x & x\ge 0\\ -x & x<0\end{cases} :: f(x)=\begin{cases}x & x\ge 0\\ -x & x<0\end{cases}
\begin{cases}x & x\ge 0\\ -x & x<0\end{cases} :: \begin{cases}-x, & x<0\\ x, & x\ge 0\end{cases}
\begin{cases}x & \text{if } x\ge 0\\ -x & \text{otherwise}\end{cases}
\begin{cases}x & \text{if } x\ge 0\\ -x & \text{otherwise}\end{cases} :: \begin{cases}x & x\ge 0\\ -x & \text{otherwise}\end{cases}
\{1,2,3\} :: \{3,2,1\}
\pm\sqrt2 :: \sqrt2, -\sqrt2
2\begin{pmatrix}1\\2\end{pmatrix} :: \begin{pmatrix}2\\4\end{pmatrix}
x=12k+7 :: x = 12k + 7, k \in \mathbb{Z}
x=12k+7,\ k\in\mathbb{Z} :: 12k+7
\frac{\pi}{4}+k\pi, k\in\mathbb{Z} :: x=k\pi+\frac{\pi}{4}
12k+7 :: 12k+7 \text{ for any integer } k
7 \pmod{12} :: x \equiv 7 \pmod{12}
x\equiv 7\pmod{12} :: 7\pmod{12} :: x \equiv 19 \pmod{12}
5 \pmod 7 :: -2 \bmod 7
(-1,0),(2,3) :: (2,3), (-1,0)
\{(1,2),(2,1)\} :: (1,2) \text{ and } (2,1)
10110_2 :: 0b10110 :: 10110_{\text{two}}
2A_{16} :: 0x2A
17_8 :: 0o17
# Units
28\% :: 28 pct :: 28 percentage :: 28\text{ percent} :: 28 per cent
9.8 \text{ m/s}^2 :: 9.8\ \mathrm{m\,s^{-2}}
9.8\text{ m/s}^2 :: 9.8 \mathrm{m/s^2}
9.8 \mathrm{~m} / \mathrm{s}^{2} :: 9.8 m/s^2
9.8 m/s^2 :: 9.8 m s^{-2} :: 9.8 \frac{\text{m}}{\text{s}^2}
5 kg m/s :: 5 \text{ kg}\cdot\text{m/s}
12 N :: 12\text{ newtons}
3 J :: 3 joules
2 hours 15 minutes :: 2\text{ h } 15\text{ min}
5 feet 3 inches :: 5 ft 3 in
45 :: 45^\circ
12 euros :: 12 €
10\text{ cm}^2 :: 10\text{ square centimeters}
60 km/h :: 60 \text{ km per hour}
3.00e8 m/s :: 3.00 \times 10^8 \mathrm{~m} \mathrm{~s}^{-1}
1.5 kJ :: 1.5 \text{ kilojoules}
0.5 mol :: 0.5\text{ moles}
2\sqrt3\text{ cm} :: 2\sqrt{3}
300 K :: 300\text{ kelvin}
5 J/(mol K) :: 5 \text{ J mol}^{-1}\text{K}^{-1}
# Of a second set, what was misjudged
f(x)=x :: f(x)=x \text{ for all } x
8\binom{2n}{n} :: \frac{8(2n)!}{n!n!}
\frac{3}{2}\log_{2}3 :: \log_2 3^{3/2}
\frac32 \log _{2} 3 :: \frac{3\ln 3}{2\ln 2}
[-2,7] :: -2 \le x \le 7
x^2 + y^2 = 4 :: x^2+y^2-4=0
\frac{x^2}{4}+\frac{y^2}{9}=1 :: 9x^2+4y^2-36=0
x+y=3 :: y=3-x
(-\infty, -4) \cup (-4, \infty) :: x\neq -4
(-\infty,0)\cup(0,\infty) :: \mathbb{R}\setminus\{0\} :: \mathbb R - \{0\} :: x \in \mathbb{R}, x\ne 0
(2,\infty) :: x > 2 :: \{x : x>2\}
[2, \infty) :: 2\le x<\infty
(-\infty,2] :: -\infty < x \le 2
(3,5) \cup (5,7) :: 3<x<5 \text{ or } 5<x<7
x\in(-\infty,-2]\cup[3,\infty) :: x\leq-2\text{ or }x\geq3 :: x \le -2, x\ge 3
k \ge 1 :: k\in[1,\infty)
0 < a \le \frac{1}{4} :: a \in (0, \frac14]
x+y<1 :: 2x+2y<2
x+y>1 :: 1-x-y<0
10! :: 3628800
\frac{10!}{2!} :: 1814400
2^{2023}+1 :: 1+2\cdot2^{2022}
\frac{2^{2024}-1}{3} :: \frac{4^{1012}-1}{3}
\frac{1}{2^{2012}} :: 2^{-2012}
1-\frac{1}{2^{2012}} :: 1-2^{-2012}
\sqrt{2}^{2024} :: 2^{1012}
10^{2024}-1 :: (10^{1012}-1)(10^{1012}+1)
\lceil n/2\rceil :: \lfloor (n+1)/2\rfloor
n! :: n\cdot(n-1)!
\max(a,b) :: \max\{a, b\}
\sqrt{(x-1)^2} :: |x-1|
\lvert ab\rvert :: |a|\cdot|b|
\gcd(m,n) :: \gcd(n,m)
2\pi k, k\in\mathbb{Z} :: 2k\pi
x=\frac{\pi}{2}+\pi n, n \in \mathbb{Z} :: \frac{\pi}{2}+n\pi :: x=\frac{\pi}{2}+\pi k, k \in \mathbb{Z}
x=\frac{\pi}{2}+\pi n :: x=\frac{\pi}{2}+\pi n \text{ where } n \text{ is an integer}
113 :: m + n = 100 + 13 = 113
19 :: a+b+c = 3+5+11=19
600 :: 1000P = 600
55 :: 100a+10b+c=55
371 :: \lfloor 100 r\rfloor = 371
3 :: \frac{a}{b}=3
6 :: 3!=6
56 :: \binom{8}{3}=\frac{8\cdot7\cdot6}{3!}=56
9.8 \text{ m/s}^2 :: 9.8\,\text{m}\cdot\text{s}^{-2}
1.2 kg/m^3 :: 1.2\ \mathrm{kg\,m^{-3}}
4.18 \text{ J/g} :: 4.18\ \mathrm{J\,g^{-1}}
8.314 J/(mol K) :: 8.314\ \mathrm{J\,mol^{-1}\,K^{-1}}
2 \text{ ft } 6 \text{ in} :: 2\text{ feet }6\text{ inches}
\text{DNE} :: \text{does not exist}
\text{no real solutions} :: \varnothing
2+3i :: 2+3j
\begin{cases} x^2 & \text{if } x < 0 \\ x & \text{if } x \geq 0 \end{cases}
\begin{cases} x^2 & \text{if } x<0 \\ x & \text{if } x\geq 0 \end{cases} :: f(x)=\begin{cases}x^{2},& x<0,\\ x,& x\ge 0.\end{cases}
\begin{cases}x=1\\y=2\end{cases} :: x=1, y=2
(1,2) :: \begin{cases}x=1\\y=2\end{cases}
x=1,y=2 :: (x,y)=(1,2)
(2,-1) :: x = 2, y = -1 :: x = 2 \text{ and } y = -1
\langle 2, 3\rangle :: \begin{pmatrix}2\\3\end{pmatrix}
{1 \over 2} :: \frac12
\approx 3.14 :: 3.14 :: \approx 3.14
\lfloor\frac{n}{2024}\rfloor :: \lfloor n/2024\rfloor :: \frac{n-(n\bmod 2024)}{2024}
\max(x,-100) :: \max(-100,x)
|x+1000| :: \sqrt{(x+1000)^2}
\gcd(n,12) :: \gcd(12,n)
81 :: x = 3^4 = 81
1914-1918 :: 1914\text{--}1918 :: 1914--1918
|x|+e^{-x^2} :: \left(e^{x^2}|x|+1\right)e^{-x^2}
|x|e^{-x^2} :: \sqrt{x^2}e^{-x^2}
\max(x,-100)e^{-x^2/100} :: \frac{x-100+|x+100|}{2}e^{-x^2/100}
1263377636044591724886240423994982400000000x+1 :: 1+1263377636044591724886240423994982400000000x
""")

OTHER = pairs(r"""
# Plain numbers
-\frac{2}{3} :: 2/3
-2/3 :: (-2)/(-3) :: -3/2
2 :: 4/2 :: (-4)/(-2)
3.5 :: 35 :: 3,5
1234567 :: 123,45,67 :: 12,34,568
1.234 :: 1,234
1234 :: 1.234
\frac{1}{12} :: 0.0833333333333333
3.14 :: 3.1416 :: 3.14\ldots :: \approx 3.14
12345 :: 1{,}2345
3{,}5 :: 35
# Chains
256 :: m+n = 256+37 = 293
37 :: m+n=256+37=293
294 :: m+n = 256+37 = 294
25 :: a+b+c=12+25+25=62
62 :: a+b+c = 12+25+26 = 62
5 :: x+1 = 5 :: x+1=4+1=5=x :: y<5 :: x \ne 5 :: x \approx 5
42 :: 1=2=42
293 :: m+n=293=256
10 :: \binom{5}{2}
f(x)=2x :: f(x)=3x :: g(x)=2x
a=1,b=2 :: a=2,b=1
x=1, y=2 :: 2, 1
(1,2) :: x=2, y=1
x=1,y=2 :: (2,1)
2 :: 1+1
7 :: 2x+1=2\cdot3+1=8
D=(0,1) :: (0,1.5) :: [0,1]
4 :: x=7-3
x=3 :: 2x=6 :: x-3=0 :: x=4
x=\sqrt2 :: x^2=2
# Expressions
4\sqrt2 :: 4\sqrt{3}
4\sqrt{2} :: \sqrt{4\cdot2}
3+4i :: 3-4j :: 3+4k
3i+4j :: 3i+4i :: 7i
\sin 30 :: \frac12
\sin 2x :: 2\sin x
\log 2 :: \ln 2
(x+1)^2 :: x^2+1
\frac{a+b}{2} :: a+\frac{b}{2}
x^{1/2} :: x^{1/3}
2^n :: n^2
n(n+1)/2 :: n(n-1)/2
1000\pi :: 1,0000\pi
\frac{x^3}{3}+C :: \frac{x^3}{3}
\binom{n}{2} :: \binom{n}{3}
2^{100} :: 2^{101}
e^{x} :: x^e
\sqrt{2} :: 1.414
\frac{\pi}{6} :: 30^\circ
\frac{\pi}{4} :: 0.785
x^2 :: x^2+10^{-50}
\pi :: \frac{355}{113} :: 3.14159265358979323846264338327950288419716939937511
# Equations of other curves
x=2y :: x=3y
2x+4y-3=0 :: y = -\frac12x+\frac32 :: 0
y=2x+3 :: 2x-y=3 :: y\ne2x+3 :: 3 :: 2x
y=x :: y^2=xy :: x(y-x)=0 :: y^2=x^2
x^2+y^2=25 :: x^2+y^2=5 :: 25
y=\sqrt{x} :: y^2=x
x-y=0 :: 0=0
x=y :: x=x
y=2x :: \frac{y}{x}=2
x^2+y^2=1 :: x^2-y^2=1
x+y=1 :: (x+y)^2=1 :: x+y<1
x+y=5 :: 5=5
# Sets of real numbers
(0,12.5) :: 0 \le x<12.5 :: 0<x<12 :: x<12.5
x<3 :: (-\infty,3] :: y<3 :: x>3
m\ge\sqrt2 :: (\sqrt2,\infty) :: m\in[2,\infty)
(-\infty,-1)\cup(1,\infty) :: x<-1 \text{ and } x>1 :: -1<x<1 :: |x|\ge1 :: |x|<1 :: |x|>2 :: x>1
[2,5) :: ]2,5[ :: [2,5] :: ]2,5]
\mathbb{R}\setminus\{-1,1\} :: \mathbb{R}\setminus\{1\}
\mathbb{R} :: \mathbb{R}\setminus\{0\} :: \mathbb{Z} :: \text{all integers}
\mathbb{Z} :: (-\infty,\infty)
\emptyset :: 0 :: \{0\}
0 :: \text{no solution}
x\ne2 :: x=2
x \ne 2 :: 2
(1,3) :: x>1 \text{ or } x<3 :: x<1 \text{ or } x>3 :: 1,3 :: x=1, x=3 :: \{1,3\}
x>2, x\in\mathbb{Z} :: x>2
(0,2)\cup(1,3) :: (0,2)
(0,1)\cup(1,2) :: (0,2)
a<x<b :: (b,a) :: [a,b]
\text{no solution} :: \text{infinitely many solutions}
[1,\infty) :: \{x\mid x>1\}
x>5 :: 5
5 :: x>5
(1,2) :: 1<2
0<x<1 :: 0<x<1<2
(2,1) :: 2<x<1
3 :: [3,3]
# Lists, tuples, vectors, matrices, piecewise functions
(1,-2,3) :: \langle 1,2,3\rangle :: 1,-2,3
\{1,-2,3\} :: \langle1,-2,3\rangle
\begin{pmatrix}1\\-2\\3\end{pmatrix} :: (1,-2,3,0)
\begin{pmatrix}1\\2\end{pmatrix} :: \begin{pmatrix}1&2\end{pmatrix} :: (2,1)^T
\begin{pmatrix}\frac12&0\\0&1\end{pmatrix} :: \frac12\begin{pmatrix}1&0\\0&1\end{pmatrix}
\begin{pmatrix}1&0\\0&2\end{pmatrix} :: \frac12\begin{pmatrix}1&0\\0&2\end{pmatrix}
\begin{vmatrix}1&2\\3&4\end{vmatrix} :: \begin{pmatrix}1&2\\3&4\end{pmatrix}
\begin{cases}x & x\ge 0\\ -x & x<0\end{cases} :: \begin{cases}x & x> 0\\ -x & x<0\end{cases}
\begin{cases}x & x\ge 0\\ -x & x<0\end{cases} :: \begin{cases}-x & x\ge 0\\ x & x<0\end{cases} :: x
\begin{cases}x & x\ge 0\\ -x & x<0\end{cases} :: \begin{cases}x & x\ge 0\end{cases}
x=12k+7,k\in\mathbb{Z} :: x=12k+5 :: x=12k+7, k\in\mathbb{R}
12k+7 :: 12k+7, k>0
7\pmod{12} :: 5\pmod{12} :: 7\pmod{11}
7 :: 19\pmod{12} :: 7\pmod{12}
x\equiv7\pmod{12} :: x=7
\pm3 :: 3
1,-2 :: 1 :: 1,2
(1,2),(2,1) :: (1,2),(1,2)
10110_2 :: 0b10111 :: 0x10110 :: 22 :: 10110
22 :: 0b10110
42 :: 0x2A
1,2,3 :: 12,3
12, 34, 567 :: 1234567
\pm\sqrt2 :: \sqrt2
# Units
28\% :: 0.28 :: 28 percentage points
28 :: 28 pct
0.28 :: 28 pct
9.8 m/s^2 :: 9.8 m/s :: 9.8 m s^{2} :: 9.8 s/m^2 :: 9.8 ft/s^2
1.5\text{ L} :: 1500\text{ mL}
3.5\text{ hours} :: 3\text{ hours }30\text{ minutes}
\$0.50 :: 50\text{ cents}
2 hours 15 minutes :: 2 hours 16 minutes :: 15 hours 2 minutes :: 2 minutes 15 hours :: 2
5 feet 3 inches :: 5 m 3 cm
12 N :: 12 J
1 kJ :: 1 J
10\text{ cm}^2 :: 10\text{ cm}^3
60 km/h :: 60 m/s
2\sqrt3\text{ cm} :: 2\sqrt3\text{ m}
45^\circ :: 45\text{ radians}
5 J/(mol K) :: 5 J/mol
3 ms :: 3 m s^{-1}
# Of a second set, what was misjudged
2^{2023} :: 2^{2024}
2^{2023}+1 :: 2^{2023}-1
10^{2024} :: 10^{2024}+10^{-5}
2024! :: 2025!
2024!+1 :: 2024!+2
1-\frac{1}{2^{2012}} :: 1-\frac{1}{2^{2011}} :: 1+\frac{1}{2^{2012}}
\frac{1}{2^{2012}} :: 0
(1+\sqrt2)^{100} :: (1+\sqrt2)^{100}+(1-\sqrt2)^{100}
(1+\sqrt2)^{100}+(1-\sqrt2)^{100} :: (1+\sqrt2)^{100}
(1+\sqrt{2})^{500} :: (1+\sqrt{2})^{500}+(1-\sqrt{2})^{500}
\left(\frac{1+\sqrt5}{2}\right)^{400} :: \left(\frac{1+\sqrt5}{2}\right)^{400}-\left(\frac{1-\sqrt5}{2}\right)^{400}
\lfloor \log_2 n\rfloor :: \log_2 n
|a+b| :: |a|+|b| :: |a|+|b|
\max(a,b) :: b
\max(a,b,c) :: \max(a,b)
\gcd(m,n) :: m :: \gcd(m,n)^2
n \bmod 3 :: n
n\bmod 3 :: \frac{n}{3}
(2k+1)!! :: (2k+1)!
p=3,q=2 :: 2,3
\langle2,3\rangle :: \langle3,2\rangle
3-2 :: 1
100-99 :: 1
5-7 :: -2
3/4/2025 :: 6/8/2025
1.2.3 :: 1.2.4
555-1234 :: -679
2-3-1 :: -2
2020-2024 :: -4 :: 2021-2025
\sqrt{2} :: \sqrt{2+10^{-60}}
x :: x+10^{-100} :: x(1+10^{-90})
\pi x :: (\pi+10^{-70})x
10^{-300}+x :: x
\sin(10^{-100}) :: \tan(10^{-100})
\frac{1}{10^{50}} :: \frac{1}{10^{50}+1}
\frac{2023}{2024} :: 1-\frac{1}{2024}
\log_2 3 :: \log_{2}4
\lfloor\frac{n}{2024}\rfloor :: \lfloor\frac{n}{2025}\rfloor :: 0
\lfloor\frac{x}{10^{6}}\rfloor :: 0 :: \lfloor\frac{x}{10^{6}+1}\rfloor
n \bmod 1000 :: n
\max(x,-100) :: x
|x+1000| :: x+1000
\max(a,b,-50) :: \max(a,b)
\gcd(n,12) :: 6 :: 12 :: 1
\approx 3.14 :: 3.15 :: \approx 3.2
12 :: 2x=12 :: x^2=12 :: x+y=12=13
(1,2) :: x=2, y=1 :: 1<x<3
2.75 :: 2(3)/(4) :: 2 (3)/4
\frac{1}{2} :: f(1)/(2)
-2 :: 5-(2) :: 3-(5)
6 :: 2(3) :: (2)(3)
2.5 :: 2-(1/2)
-1/6 :: 1/(2)-(2/3)
36 :: 6^2 :: x=6^2 :: 36 = 6^2 :: 6^2 = 37
y=|x| :: y^2=x^2 :: y=x
F_n :: n
n! :: \sqrt{2\pi n}\left(\frac{n}{e}\right)^n
\max(x,-100)+e^{-x^2} :: x+e^{-x^2}
\max(x,-100)e^{-x^2} :: xe^{-x^2}
\max(x,-100)e^{-x^2/100} :: xe^{-x^2/100}
|x|+e^{-x^2} :: |x|+2e^{-x^2} :: |x|
""")
